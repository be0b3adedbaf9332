/** What a Service's annotations ask for, by pods of a real mesh, in HTTP/1, HTTP/2 and gRPC. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';

/** HTTP/1 on 8000, HTTP/2 on 8001; does to a request what its query says, and remembers each by `id`. */
const application = nodeCommand(`
import http from 'node:http';
import http2 from 'node:http2';
const known = new Map();
const of = (id) => known.get(id) ?? known.set(id, { seen: 0, cancelled: 0, headers: [] }).get(id);
function serve(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://app');
  const one = of(searchParams.get('id'));
  if (pathname === '/told') return response.end(JSON.stringify(one));
  one.seen++;
  one.headers.push(request.headers);
  response.on('close', () => { if (!response.writableEnded) one.cancelled++; });
  const grpc = request.headers['content-type'] === 'application/grpc';
  const bad = one.seen <= Number(searchParams.get('fail') ?? 0);
  request.resume().on('end', () => {
    if (pathname === '/hang') return;
    if (pathname === '/drip') return response.write('part');
    if (!grpc) return response.writeHead(bad ? 503 : 200).end('said');
    response.setHeader('content-type', 'application/grpc');
    if (bad) response.setHeader('grpc-status', '14');
    else response.setTrailer('grpc-status', '0');
    response.end(bad ? undefined : 'said');
  });
}
http.createServer(serve).listen(8000);
http2.createServer(serve).listen(8001);`);

/** One request; prints its answer. Arguments: HTTP/1, HTTP/2 or gRPC; service; path; method. */
const asking = nodeCommand(`
import http from 'node:http';
import http2 from 'node:http2';
const [kind, service, path, method] = process.argv.slice(1);
const answer = { status: 0, grpc: null, error: null, body: '', cut: false };
const done = () => { console.log(JSON.stringify(answer)); process.exit(0); };
const head = (status, headers) => {
  answer.status = Number(status);
  answer.grpc = headers['grpc-status'] ?? answer.grpc;
  answer.error = headers['mesh-error']?.split(';')[0] ?? null;
};
if (kind === 'HTTP/1') {
  http.request('http://' + service + ':8000' + path, { method }, (response) => {
    head(response.statusCode, response.headers);
    response.on('data', (part) => (answer.body += part)).on('error', () => {});
    response.on('close', () => { answer.cut = !response.complete; done(); });
  }).end();
} else {
  const grpc = kind === 'gRPC' ? { 'content-type': 'application/grpc', te: 'trailers' } : {};
  const stream = http2.connect('http://' + service + ':8001').request({ ':method': grpc.te ? 'POST' : method, ':path': path, ...grpc });
  stream.on('response', (headers) => head(headers[':status'], headers));
  stream.on('trailers', (headers) => (answer.grpc = headers['grpc-status']));
  stream.on('data', (part) => (answer.body += part)).on('error', () => {});
  stream.on('close', () => { answer.cut = stream.rstCode !== 0; done(); });
  stream.end(grpc.te ? 'message' : undefined);
}`);

interface Answer {
  status: number;
  grpc: string | null;
  error: string | null;
  body: string;
  cut: boolean;
}
interface Told {
  seen: number;
  cancelled: number;
  headers: Record<string, string>[];
}

const service = (name: string, annotations: Record<string, string>): string => {
  const prefixed = Object.entries(annotations).map(([key, value]) => [`config.mesh.dev/${key}`, value]);
  const ports = [8000, 8001].map((port) => ({ name: `p${port}`, port }));
  const metadata = { name, annotations: Object.fromEntries(prefixed) };
  return JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: { app: 'app' }, ports } });
};

const malformed = service('malformed', { retry: 'sometimes', 'timeout-response': '200ms' });

describe.skipIf(unable)('resilience', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let ids = 0;

  beforeAll(async () => {
    mesh = await installMesh('resilience');
    const manifests = [
      workload('client', ['sleep', 'infinity']),
      workload('app', application, { port: 8000 }),
      service('plain', {}),
      service('retry', { retry: '5xx,unavailable' }),
      service('retry-post', { retry: '5xx', 'retry-methods': 'POST' }),
      service('response', { 'timeout-response': '200ms' }),
      service('request', { 'timeout-request': '300ms' }),
      service('idle', { 'timeout-idle': '200ms' }),
    ];
    await mesh.apply(manifests.join('\n---\n'), true);
    await mesh.apply(malformed, false);
    [client] = (await mesh.ready('client')) as [PodObject];
    await mesh.ready('app');
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  async function ask(
    kind: string,
    to: string,
    path: string,
    method = 'GET',
  ): Promise<{ answer: Answer; told(): Promise<Told> }> {
    const id = `id=${++ids}`;
    const whole = `${path}${path.includes('?') ? '&' : '?'}${id}`;
    const answer = JSON.parse(await mesh.exec(client, ...asking, kind, to, whole, method)) as Answer;
    const told = async () =>
      JSON.parse(await mesh.exec(client, 'curl', '-s', '-m', '5', `http://app:8000/told?${id}`)) as Told;
    return { answer, told };
  }

  describe.each(['HTTP/1', 'HTTP/2', 'gRPC'])('%s', (kind) => {
    const grpc = kind === 'gRPC';
    /** By HTTP's status or gRPC's. */
    const late = grpc ? { status: 200, grpc: '4' } : { status: 504 };

    test('retry: what fails once is asked again, and marked; without it not', async () => {
      const asked = await ask(kind, 'retry', '/?fail=1');
      expect(asked.answer).toMatchObject({ status: 200, body: 'said', ...(grpc ? { grpc: '0' } : {}) });
      const { seen, headers } = await asked.told();
      expect([seen, ...headers.map((one) => one['mesh-retry'])]).toEqual([2, undefined, '1']);
      const plain = await ask(kind, 'plain', '/?fail=1');
      expect(plain.answer).toMatchObject(grpc ? { grpc: '14' } : { status: 503 });
      expect((await plain.told()).seen).toBe(1);
    });

    test('timeout-response', async () => {
      const { answer, told } = await ask(kind, 'response', '/hang');
      expect(answer).toMatchObject({ ...late, error: 'response-timeout' });
      await until('the request is cancelled at the application', async () => (await told()).cancelled === 1);
      expect((await told()).seen).toBe(1);
    });

    test('timeout-request, which the server hears of as a deadline', async () => {
      const { answer, told } = await ask(kind, 'request', '/hang');
      expect(answer).toMatchObject(late);
      // Whichever of the two proxies is first.
      expect(answer.error).toBe('request-timeout');
      await until('the request is cancelled at the application', async () => (await told()).cancelled === 1);
      const [headers] = (await told()).headers;
      const deadline = Number(headers!['mesh-deadline']);
      expect(deadline).toBeGreaterThan(0);
      expect(deadline).toBeLessThanOrEqual(300);
      if (grpc) expect(headers!['grpc-timeout']).toMatch(/^\d{1,3}m$/);
    });

    test('timeout-idle', async () => {
      const { answer, told } = await ask(kind, 'idle', '/drip');
      expect(answer).toMatchObject({ status: 200, body: 'part', cut: true });
      await until('the request is cancelled at the application', async () => (await told()).cancelled === 1);
    });

    test('an annotation that is malformed does not hold, the others do', async () => {
      expect((await ask(kind, 'malformed', '/hang')).answer).toMatchObject(late);
      const { told } = await ask(kind, 'malformed', '/?fail=1');
      expect((await told()).seen).toBe(1);
    });
  });

  test.each([
    ['retry', 503, 1],
    ['retry-post', 200, 2],
  ])('POST to %s', async (to, status, seen) => {
    const { answer, told } = await ask('HTTP/1', to, '/?fail=1', 'POST');
    expect([answer.status, (await told()).seen]).toEqual([status, seen]);
  });

  test('a malformed annotation is told on the Service, by check and by inject', async () => {
    const event = await until('an event', async () =>
      (await mesh.client.list(resources.events, { namespace: mesh.namespace })).find(
        (one) => one.reason === 'BadAnnotation',
      ),
    );
    const message = 'config.mesh.dev/retry: "sometimes" is not a status';
    expect(event).toMatchObject({ involvedObject: { kind: 'Service', name: 'malformed' }, type: 'Warning' });
    expect(event.message).toContain(message);
    await expect(mesh.mesh(['inject', '-'], malformed)).rejects.toThrow(message);
    expect(await mesh.mesh(['check', '--proxy', '-n', mesh.namespace])).toContain(message);
  });
});
