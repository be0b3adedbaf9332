/** Services that call each other, three deep, and the last of them fails: what retries at each layer make of its load. */
import { nodeCommand, type PodObject, type TestMesh, workload } from './mesh.ts';

/** All requests fail, half of them do, or all are answered too late. */
export const faults = ['all', 'half', 'slow'] as const;
export type Fault = (typeof faults)[number];

/** Who retries: the proxies of each layer, as their services ask, or the program of each layer, by itself. */
export const retriers = ['mesh', 'programs'] as const;
export type Retrier = (typeof retriers)[number];

/** Tries of one request at each layer. */
export const tries = 3;
/** How long each layer waits for the next, milliseconds: the first for the second, the second for the third, that for the last. */
const patienceMs = [8_000, 2_000, 100];
const lateMs = 1_000;
/** Requests of the client at once. */
export const atOnce = 32;

/** Calls the next, as often as it is to; what that says it says. Arguments: URL of the next, tries, patience. */
const calling = `
import http from 'node:http';
const agent = new http.Agent({ keepAlive: true });
const once = (url, patience) => new Promise((resolve) => {
  const request = http.get(url, { agent }, (response) => {
    response.resume().on('end', () => resolve(response.statusCode)).on('error', () => resolve(502));
  });
  request.on('error', () => resolve(502));
  if (patience > 0) request.setTimeout(patience, () => { resolve(504); request.destroy(); });
});
async function call(url, tries, patience) {
  for (let left = tries; ; left--) {
    const status = await once(url, patience);
    if (status < 500 || left <= 1) return status;
  }
}`;

const layer = (next: string, own: number, patience: number): string[] =>
  nodeCommand(`${calling}
http.createServer(async (request, response) => {
  response.writeHead(await call('http://${next}:8000' + request.url, ${own}, ${patience})).end();
}).listen(8000);`);

/** Counts its requests by the run that they belong to. */
const last = nodeCommand(`
import http from 'node:http';
const counts = new Map();
http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://last');
  const run = searchParams.get('run');
  if (pathname === '/count') return response.end(String(counts.get(run) ?? 0));
  counts.set(run, (counts.get(run) ?? 0) + 1);
  const fault = searchParams.get('fault');
  if (fault === 'slow') return setTimeout(() => response.end(), ${lateMs});
  response.writeHead(fault === 'all' || Math.random() < 0.5 ? 503 : 200).end();
}).listen(8000);`);

/** Sends so many requests, some at once; prints how many were answered well. Arguments: URL, requests, at once, tries, patience. */
const client = nodeCommand(`${calling}
const [url, requests, atOnce, tries, patience] = process.argv.slice(1);
let left = Number(requests);
let good = 0;
await Promise.all(Array.from({ length: Number(atOnce) }, async () => {
  while (left-- > 0) if (await call(url, Number(tries), Number(patience)) < 500) good++;
}));
console.log(good);
process.exit(0);`);

const policy = (layerOf: number): Record<string, string> => ({
  retry: '5xx',
  'retry-limit': String(tries - 1),
  'timeout-response': `${patienceMs[layerOf]}ms`,
});

/** The client, and either chain: `mesh-first`, `mesh-second` and `mesh-last`; `programs-first` and so on. */
export class Chain {
  readonly #mesh: TestMesh;
  readonly #client: PodObject;
  #runs = 0;

  private constructor(mesh: TestMesh, client: PodObject) {
    this.#mesh = mesh;
    this.#client = client;
  }

  static async start(mesh: TestMesh, of: readonly Retrier[]): Promise<Chain> {
    const manifests = [workload('storm-client', ['sleep', 'infinity'])];
    for (const who of of) {
      const [own, wait] = who === 'mesh' ? [1, [0, 0, 0]] : [tries, patienceMs];
      const options = (of: number) => ({ port: 8000, ...(who === 'mesh' ? { policy: policy(of) } : {}) });
      manifests.push(
        workload(`${who}-first`, layer(`${who}-second`, own, wait[1]!), options(0)),
        workload(`${who}-second`, layer(`${who}-last`, own, wait[2]!), options(1)),
        workload(`${who}-last`, last, options(2)),
      );
    }
    await mesh.apply(manifests.join('\n---\n'), true);
    const [client] = (await mesh.ready('storm-client')) as [PodObject];
    for (const who of of) for (const name of ['first', 'second', 'last']) await mesh.ready(`${who}-${name}`);
    return new Chain(mesh, client);
  }

  /** Sends `requests`, and gives how many of them were answered well and how many the last service got. */
  async run(who: Retrier, fault: Fault, requests: number): Promise<{ good: number; load: number }> {
    const run = `run=${who}-${++this.#runs}`;
    const [own, wait] = who === 'mesh' ? [1, 0] : [tries, patienceMs[0]!];
    const url = `http://${who}-first:8000/?fault=${fault}&${run}`;
    const good = await this.#mesh.exec(
      this.#client,
      ...client,
      url,
      String(requests),
      String(atOnce),
      String(own),
      String(wait),
    );
    const load = await this.#mesh.exec(this.#client, 'curl', '-s', '-m', '5', `http://${who}-last:8000/count?${run}`);
    return { good: Number(good), load: Number(load) };
  }
}
