/** An application of limited capacity, and clients that ask more of it than it can: programs of pods. */
import { nodeCommand } from './mesh.ts';

export type Protocol = 'http1' | 'http2';

const workers = 4;
const workMs = 20;
/** Requests per second that the application can answer. */
export const capacity = (workers * 1000) / workMs;

/** Works at four requests at a time, the others in a queue; port 8000. On port 9000 it tells how many it has seen. */
export const limited = (protocol: Protocol): string[] =>
  nodeCommand(`
import http from 'node:http';
import http2 from 'node:http2';
const queue = [];
let busy = 0, seen = 0;
function begin(done) {
  busy++;
  setTimeout(() => {
    busy--;
    done();
    const next = queue.shift();
    if (next) begin(next);
  }, ${workMs});
}
const work = (done) => {
  seen++;
  if (busy < ${workers}) begin(done);
  else queue.push(done);
};
if (${protocol === 'http1'}) http.createServer((request, response) => work(() => response.end('done'))).listen(8000);
else http2.createServer().on('stream', (stream) => {
  stream.on('error', () => {});
  work(() => stream.destroyed || (stream.respond(), stream.end('done')));
}).listen(8000);
http.createServer((request, response) => response.end(String(seen))).listen(9000);`);

/** What became of requests that were sent at a fixed rate. */
export interface Offered {
  sent: number;
  /** Answered with 200; of them within a second. */
  answered: number;
  soon: number;
  /** Turned away with 503. */
  shed: number;
  /** What a client heard that was turned away: `mesh-error` and `retry-after`. */
  heard: string[];
  /** Anything else, by what it was. */
  others: Record<string, number>;
  /** Of answered ones, milliseconds. */
  p50: number;
  p99: number;
}

/** Arguments: URL, protocol, requests per second and seconds of calm, then of the load that counts. Prints `Offered`. */
export const offer = nodeCommand(`
import http from 'node:http';
import http2 from 'node:http2';
const [url, protocol, calm, calmSeconds, rate, seconds] = process.argv.slice(1).map((one, i) => (i < 2 ? one : Number(one)));
const agent = new http.Agent({ keepAlive: true });
const sessions = [];
const open = new Set();
function ask(count) {
  const begun = performance.now();
  let over = false;
  const end = (status, headers = {}) => {
    if (over) return;
    over = true;
    open.delete(end);
    count?.(status, headers, performance.now() - begun);
  };
  open.add(end);
  if (protocol === 'http1') {
    const request = http.get(url, { agent }, (response) => response.resume().on('end', () => end(response.statusCode, response.headers)));
    return request.on('error', (error) => end(error.message));
  }
  const i = Math.floor(Math.random() * 4);
  if (!sessions[i] || sessions[i].closed || sessions[i].destroyed) sessions[i] = http2.connect(url).on('error', () => {});
  const stream = sessions[i].request();
  let head = {};
  stream.on('response', (headers) => (head = headers)).on('error', () => {}).resume();
  stream.on('close', () => end(head[':status'] ?? 'reset ' + stream.rstCode, head));
}
async function at(rate, seconds, count) {
  const begun = performance.now();
  let sent = 0;
  while (performance.now() - begun < seconds * 1000) {
    const due = Math.floor(((performance.now() - begun) / 1000) * rate);
    for (; sent < due; sent++) ask(count);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return sent;
}
await at(calm, calmSeconds);
const latencies = [];
const result = { sent: 0, answered: 0, soon: 0, shed: 0, heard: [], others: {} };
result.sent = await at(rate, seconds, (status, headers, latency) => {
  if (status === 200) {
    result.answered++;
    latencies.push(latency);
    if (latency < 1000) result.soon++;
  } else if (status === 503) {
    result.shed++;
    const said = (headers['mesh-error'] ?? '-') + ' | ' + (headers['retry-after'] ?? '-');
    if (!result.heard.includes(said)) result.heard.push(said);
  } else result.others[status] = (result.others[status] ?? 0) + 1;
});
await new Promise((resolve) => setTimeout(resolve, 3000));
for (const end of open) end('no answer');
latencies.sort((a, b) => a - b);
result.p50 = latencies[Math.floor(latencies.length / 2)] ?? 0;
result.p99 = latencies[Math.floor(latencies.length * 0.99)] ?? 0;
console.log(JSON.stringify(result));
process.exit(0);`);
