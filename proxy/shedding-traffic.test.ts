/** Load shedding between two proxies on loopback: what clients hear, what the application sees. */
import http from 'node:http';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import type { TrafficPolicy } from '../protocol/traffic-policy.ts';
import type { Shedder } from './shedding/shedder.ts';
import { ask, dialHttp2, http2Server } from './test-http2.ts';
import { ips, mesh, meshed, publish, startApps, startMesh, stopMesh } from './test-mesh.ts';

vi.setConfig({ testTimeout: 60_000 });
beforeAll(() => startMesh({ MESH_PROXY_LOAD_SHEDDING: 'enabled' }));
afterAll(stopMesh);

/** Of a gRPC call, its status in place of the HTTP one. */
interface Heard {
  status: number;
  headers: Record<string, unknown>;
}

const workMs = 20;
const workers = 2;

/** So many requests at a time for all its addresses, the others in a queue. */
class Work {
  seen = 0;
  #busy = 0;
  readonly #queue: (() => void)[] = [];

  do(done: () => void): void {
    this.seen++;
    if (this.#busy < workers) this.#begin(done);
    else this.#queue.push(done);
  }

  #begin(done: () => void): void {
    this.#busy++;
    setTimeout(() => {
      this.#busy--;
      done();
      const next = this.#queue.shift();
      if (next) this.#begin(next);
    }, workMs);
  }
}

/** Asks one after the other while the application is calm, then many at once until requests are turned away. */
async function overload(one: () => Promise<Heard>, port: number): Promise<{ heard: Heard[]; shedder: Shedder }> {
  const heard: Heard[] = [];
  for (let i = 0; i < 30; i++) heard.push(await one());
  expect(heard.every(({ status }) => status === 200 || status === 0)).toBe(true);
  const { shedder } = mesh.server.inbound.gates.of(port);
  let over = false;
  const clients = Array.from({ length: 60 }, async () => {
    while (!over) heard.push(await one());
  });
  await vi.waitFor(() => expect(shedder!.shed).toBeGreaterThan(30), { timeout: 30_000 });
  over = true;
  await Promise.all(clients);
  return { heard, shedder: shedder! };
}

/** The application has seen what was answered and nothing else; what was turned away was tried again within bounds. */
function check(heard: Heard[], good: number, bad: number, work: Work, shedder: Shedder): Heard {
  const answered = heard.filter(({ status }) => status === good);
  const shed = heard.filter(({ status }) => status === bad);
  expect(answered.length + shed.length).toBe(heard.length);
  expect(work.seen).toBe(answered.length);
  expect(shedder.shed).toBeGreaterThanOrEqual(shed.length);
  expect(shedder.shed).toBeLessThanOrEqual(heard.length * 1.3 + 60);
  expect(shedder.inFlight).toBe(0);
  return shed[0]!;
}

const retries: TrafficPolicy = { retry: { statuses: [[500, 599]], grpc: [], limit: 3 } };

test.each([
  ['', undefined],
  [', where retries are asked for too', retries],
] as const)(
  'an overloaded HTTP/1 application is spared, and its clients are told when to come again%s',
  async (_, policy) => {
    const work = new Work();
    const { port, servers } = await startApps(() =>
      http.createServer((_, response) => work.do(() => response.end('done'))),
    );
    mesh.destination = formatAddress('10.96.7.1', policy ? 81 : 80);
    publish(
      mesh.destination,
      ips.map((ip) => meshed(ip, port)),
      policy,
    );
    const agent = new http.Agent({ keepAlive: true });
    const one = () =>
      new Promise<Heard>((resolve, reject) => {
        http
          .get({ host: '127.0.0.1', port: mesh.client.ports.outbound, agent }, (response) => {
            response.resume();
            response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers }));
          })
          .on('error', reject);
      });
    const { heard, shedder } = await overload(one, port);
    expect(check(heard, 200, 503, work, shedder).headers).toMatchObject({
      'retry-after': '1',
      'mesh-error': 'overloaded; the server is overloaded',
    });
    agent.destroy();
    for (const server of servers) server.close();
  },
);

test.each([
  ['HTTP/2', {}, { status: 503, header: 'retry-after', later: '1' }],
  ['gRPC', { 'content-type': 'application/grpc' }, { status: 14, header: 'grpc-retry-pushback-ms', later: '1000' }],
] as const)('so is one that speaks %s', async (protocol, headers, told) => {
  const work = new Work();
  const grpc = protocol === 'gRPC';
  const { port, servers } = await startApps(
    () =>
      http2Server((stream) =>
        work.do(() => {
          if (stream.destroyed) return;
          stream.respond({
            ':status': 200,
            ...(grpc ? { 'content-type': 'application/grpc', 'grpc-status': '0' } : {}),
          });
          stream.end();
        }),
      ).server,
  );
  mesh.destination = formatAddress('10.96.7.2', grpc ? 81 : 80);
  publish(
    mesh.destination,
    ips.map((ip) => meshed(ip, port)),
  );
  const session = await dialHttp2(mesh.client.ports.outbound);
  const one = async (): Promise<Heard> => {
    const answer = await ask(session, headers);
    return { status: grpc ? Number(answer.headers['grpc-status']) : answer.status, headers: answer.headers };
  };
  const { heard, shedder } = await overload(one, port);
  expect(check(heard, grpc ? 0 : 200, told.status, work, shedder).headers).toMatchObject({ [told.header]: told.later });
  session.destroy();
  for (const server of servers) server.close();
});
