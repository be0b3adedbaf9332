/** A load generator that runs inside a pod: its source, and what it reports. */
import { expect } from 'vitest';

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
 * `steady(url, rate, flowing)`: requests at a fixed rate, whether or not answers come, until its `stop()`, which gives
 * what became of them. `flowing` is called once a fifth of a second's requests are sent. A failure is any status but
 * 200, an error of the connection, and ten seconds without an answer. With the scheme h2c: unary calls, on one HTTP/2
 * connection as long as it lasts.
 */
export const loadSource = `
import { Agent, get } from 'node:http';
import { connect } from 'node:http2';
function steady(url, rate, flowing = () => {}) {
  const agent = new Agent({ keepAlive: true });
  const started = performance.now();
  let sent = 0, done = 0, slowest = 0;
  const failures = {};
  const fail = (why) => {
    const at = Math.round((performance.now() - started) / 1000) + ' s: ' + why;
    failures[at] = (failures[at] ?? 0) + 1;
  };
  const failed = () => Object.values(failures).reduce((sum, count) => sum + count, 0);
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
    if (++sent === rate / 5) flowing();
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
  const stop = () => new Promise((resolve) => {
    clearInterval(timer);
    const seconds = (performance.now() - started) / 1000;
    const deadline = performance.now() + 11000;
    const wait = setInterval(() => {
      if (done + failed() < sent && performance.now() < deadline) return;
      clearInterval(wait);
      if (done + failed() < sent) fail('never answered');
      resolve({ sent, done, failures, slowest: Math.round(slowest), seconds });
    }, 20);
  });
  return { stop };
}`;

/** None failed, and the rate was held. */
export function expectUnharmed(result: Steady, rate: number): void {
  expect(result.failures).toEqual({});
  expect(result.done).toBe(result.sent);
  expect(result.sent).toBeGreaterThan(rate * result.seconds * 0.8);
}
