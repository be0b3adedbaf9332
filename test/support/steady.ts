/** Steady traffic inside a pod: what a client notices of a fault. */
import { setTimeout as wait } from 'node:timers/promises';
import { expectUnharmed, loadSource, type Steady } from './load.ts';
import { nodeCommand, type PodObject, type TestMesh } from './mesh.ts';

/** A service that answers within milliseconds, and lets what it has begun finish when it is told to end. */
export const hello = nodeCommand(`
import { createServer } from 'node:http';
const server = createServer((request, response) => setTimeout(() => response.end('hello'), 2)).listen(8000);
process.on('SIGTERM', () => server.close(() => process.exit(0)));`);

/** The same as a unary call in HTTP/2, which tells its pod: a message there, a message and a status back. */
export const helloGrpc = nodeCommand(`
import { createServer } from 'node:http2';
import { hostname } from 'node:os';
const sessions = new Set();
const server = createServer();
server.on('session', (session) => {
  sessions.add(session.on('error', () => {}).on('close', () => sessions.delete(session)));
});
server.on('stream', (stream) => {
  stream.on('error', () => {}).resume().on('end', () => setTimeout(() => {
    stream.respond({ 'content-type': 'application/grpc', 'x-pod': hostname() }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end('hello');
  }, 2));
});
server.listen(8000);
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  for (const session of sessions) session.close();
});`);

/** Sends until its input ends, then prints what became of it. Arguments: URL, requests per second. */
const script = nodeCommand(`${loadSource}
const load = steady(process.argv[1], Number(process.argv[2]), () => console.log('flowing'));
process.stdin.resume().on('end', async () => {
  console.log(JSON.stringify(await load.stop()));
  process.exit(0);
});`);

/**
 * Sends requests from a pod at a fixed rate while something happens, and a second longer. None may fail, and the rate
 * must have been held.
 */
export async function unnoticed(
  mesh: TestMesh,
  client: PodObject,
  url: string,
  rate: number,
  happens: () => Promise<void>,
): Promise<Steady> {
  const load = mesh.start(client, ...script, url, String(rate));
  const flowing = new Promise((resolve) => load.stdout.once('data', resolve));
  try {
    await Promise.race([flowing, load.ended]);
    await happens();
    // What breaks with a delay is to be seen too.
    await wait(1_000);
  } finally {
    load.stdin.end();
  }
  const result = JSON.parse((await load.ended).split('\n').at(-1)!) as Steady;
  expectUnharmed(result, rate);
  return result;
}
