/**
 * A small shop in one program: `shop.js web|catalog|cart|payment|load`. Every service is plain HTTP and knows
 * nothing of the mesh. `payment` fails a share of its charges on purpose (FAIL_SHARE): the tour finds it.
 */
import http from 'node:http';

const port = Number(process.env.PORT ?? 8080);
const products = ['tea', 'coffee', 'mug', 'kettle', 'filter'].map((name, id) => ({ id, name, price: 3 + 4 * id }));

type Handler = (
  path: string,
  body: string,
) => Promise<{ status: number; body: unknown }> | { status: number; body: unknown };

/** A JSON call to another service of the shop; keeps connections as any client does. */
const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });

function call(method: string, url: string, body?: unknown): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request(
      url,
      {
        method,
        agent,
        timeout: 5000,
        headers: payload ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) } : {},
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      },
    );
    request.on('timeout', () => request.destroy(new Error(`${method} ${url} took over 5 s`)));
    request.on('error', reject);
    request.end(payload);
  });
}

const catalog: Handler = (path) => {
  if (path === '/products') return { status: 200, body: products };
  const product = products[Number(path.split('/')[2])];
  return product ? { status: 200, body: product } : { status: 404, body: { error: 'no such product' } };
};

const cart: Handler = async (_path, body) => {
  const { product = 0, quantity = 1 } = body ? JSON.parse(body) : {};
  const found = await call('GET', `${process.env.CATALOG_URL}/products/${product}`);
  if (found.status !== 200) return { status: 404, body: { error: 'no such product' } };
  return { status: 200, body: { total: JSON.parse(found.body).price * quantity } };
};

const failShare = Number(process.env.FAIL_SHARE ?? 0);
let charges = 0;
/** Fails every n-th charge rather than by chance, so that the share is exact however few there are. */
const payment: Handler = () => {
  charges++;
  const fails = failShare > 0 && Math.floor(charges * failShare) > Math.floor((charges - 1) * failShare);
  return fails
    ? { status: 500, body: { error: 'card service lost its database' } }
    : { status: 200, body: { paid: true } };
};

const web: Handler = async (path) => {
  if (path === '/') {
    const list = await call('GET', `${process.env.CATALOG_URL}/products`);
    return { status: list.status, body: { products: JSON.parse(list.body) } };
  }
  if (path.startsWith('/checkout')) {
    const total = await call('POST', `${process.env.CART_URL}/cart`, { product: 1, quantity: 2 });
    const paid = await call('POST', `${process.env.PAYMENT_URL}/charge`, JSON.parse(total.body));
    // A shop that loses a sale says so politely: the fault shows at payment, not here.
    return {
      status: 200,
      body: { ordered: paid.status === 200, message: paid.status === 200 ? 'thank you' : 'try again later' },
    };
  }
  return { status: 404, body: { error: 'not found' } };
};

function serve(handler: Handler): void {
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      let answer: { status: number; body: unknown };
      try {
        answer = await handler(request.url ?? '/', Buffer.concat(chunks).toString());
      } catch (error) {
        process.stderr.write(`${request.method} ${request.url}: ${(error as Error).message}\n`);
        answer = { status: 502, body: { error: (error as Error).message } };
      }
      const text = `${JSON.stringify(answer.body)}\n`;
      // Node leaves connections open that were in use when it was told to close.
      if (!server.listening) response.setHeader('connection', 'close');
      response.writeHead(answer.status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      });
      response.end(text);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(port, () => process.stderr.write(`listening on ${port}\n`));
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

/** Visits the shop at a steady rate (RATE per second): a third of the visits buys. */
function load(): void {
  const rate = Number(process.env.RATE ?? 30);
  const url = process.env.WEB_URL ?? 'http://web';
  let visits = 0;
  let failures = 0;
  setInterval(() => {
    const path = visits++ % 3 === 0 ? '/checkout' : '/';
    call('GET', `${url}${path}`).then(
      (answer) => {
        if (answer.status >= 500) failures++;
      },
      (error: Error) => {
        failures++;
        process.stderr.write(`GET ${path}: ${error.message}\n`);
      },
    );
  }, 1000 / rate);
  setInterval(() => process.stderr.write(`${visits} visits, ${failures} failed\n`), 10_000);
  process.once('SIGTERM', () => process.exit(0));
}

const roles: Record<string, () => void> = {
  web: () => serve(web),
  catalog: () => serve(catalog),
  cart: () => serve(cart),
  payment: () => serve(payment),
  load,
};
const role = roles[process.argv[2] ?? ''];
if (!role) {
  process.stderr.write(`usage: shop.js ${Object.keys(roles).join('|')}\n`);
  process.exit(2);
}
role();
