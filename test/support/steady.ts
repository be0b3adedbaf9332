/** Steady traffic inside a pod: what a client notices of a fault. */
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
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

/**
 * Requests at a fixed rate, whether or not answers come, until its input ends; then prints what became of them.
 * Arguments: URL, requests per second. With the scheme h2c: unary calls, on one HTTP/2 connection as long as it lasts.
 */
const script = nodeCommand(`
import { Agent, get } from 'node:http';
import { connect } from 'node:http2';
const url = process.argv[1];
const rate = Number(process.argv[2]);
const agent = new Agent({ keepAlive: true });
const started = performance.now();
let sent = 0, done = 0, slowest = 0;
const failures = {};
const fail = (why) => {
  const at = Math.round((performance.now() - started) / 1000) + ' s: ' + why;
  failures[at] = (failures[at] ?? 0) + 1;
};
let session;
function call(begun) {
  if (!session) {
    const made = session = connect(url.replace('h2c:', 'http:'));
    const gone = () => { if (session === made) session = undefined; };
    made.on('error', gone).on('goaway', gone).on('close', gone);
  }
  const stream = session.request({ ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
  let why = 'no answer', status = 'none';
  stream.on('response', (head) => (why = 'status ' + head[':status'] + ' ' + (head['mesh-error'] ?? '')));
  stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
  stream.on('error', (error) => (why = error.message)).resume();
  stream.on('close', () => {
    if (status !== '0') return fail(why + ', grpc-status ' + status);
    done++;
    slowest = Math.max(slowest, performance.now() - begun);
  });
  stream.setTimeout(10000, () => stream.close(8)).end('hello');
}
function send() {
  const begun = performance.now();
  if (++sent === rate / 5) console.log('flowing');
  if (url.startsWith('h2c:')) return call(begun);
  const request = get(url, { agent, timeout: 10000 }, (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (text) => (body += text)).on('error', () => fail('cut off'));
    response.on('end', () => {
      if (response.statusCode !== 200) return fail('status ' + response.statusCode + ' ' + body.trim());
      done++;
      slowest = Math.max(slowest, performance.now() - begun);
    });
  });
  request.on('timeout', () => request.destroy(new Error('timeout'))).on('error', (error) => fail(error.message));
}
const timer = setInterval(() => {
  for (const due = ((performance.now() - started) / 1000) * rate; sent < due; ) send();
}, 4);
process.stdin.resume().on('end', () => {
  clearInterval(timer);
  const seconds = (performance.now() - started) / 1000;
  const deadline = performance.now() + 11000;
  const wait = setInterval(() => {
    const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
    if (done + failed < sent && performance.now() < deadline) return;
    clearInterval(wait);
    if (done + failed < sent) fail('never answered');
    console.log(JSON.stringify({ sent, done, failures, slowest: Math.round(slowest), seconds }));
    process.exit(0);
  }, 20);
});`);

export interface Steady {
  sent: number;
  done: number;
  /** Second and cause → how many. */
  failures: Record<string, number>;
  /** Milliseconds. */
  slowest: number;
  seconds: number;
}

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
  expect(result.failures).toEqual({});
  expect(result.done).toBe(result.sent);
  expect(result.sent).toBeGreaterThan(rate * result.seconds * 0.8);
  return result;
}
