/**
 * A client that asks at a fixed rate, whatever the server does: each request has a time at which it is due, and its
 * latency counts from then, so that a server that stalls cannot hide what waited meanwhile (coordinated omission).
 */
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

export interface PacedOptions {
  host: string;
  port: number;
  connections: number;
  /** Requests per second. */
  rate: number;
  seconds: number;
}

export interface PacedResult {
  requests: number;
  errors: number;
  p50_ms: number;
  p99_ms: number;
  max_ms: number;
}

/** Wakes the main thread this often: timers of Node know whole milliseconds only. */
const tickMs = 0.25;
/** After the last request was due. */
const patienceMs = 5_000;
const ticker = `
const { workerData: { shared, tickMs } } = require('node:worker_threads');
const ticks = new Int32Array(shared);
const own = new Int32Array(new SharedArrayBuffer(4));
for (;;) {
  Atomics.wait(own, 0, 0, tickMs);
  Atomics.add(ticks, 0, 1);
  Atomics.notify(ticks, 0);
}`;

/** One connection with at most one request at a time. */
class Connection {
  #socket: Socket | undefined;
  #left = -1;
  #head = '';
  #done: ((ok: boolean) => void) | undefined;
  readonly #options: PacedOptions;

  constructor(options: PacedOptions) {
    this.#options = options;
  }

  request(text: string, done: (ok: boolean) => void): void {
    this.#done = done;
    this.#left = -1;
    this.#head = '';
    this.#socket ??= this.#connect();
    this.#socket.write(text);
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connect(): Socket {
    const { host, port } = this.#options;
    const socket = connect({ host, port, noDelay: true });
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      this.#end(false);
    });
    return socket;
  }

  #onData(chunk: Buffer): void {
    if (this.#left >= 0) this.#left -= chunk.length;
    else {
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#left = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1] ?? 0) - (this.#head.length - end - 4);
    }
    if (this.#left <= 0) this.#end(this.#head.startsWith('HTTP/1.1 200'));
  }

  #end(ok: boolean): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(ok);
  }
}

export async function runPaced(options: PacedOptions): Promise<PacedResult> {
  const { host, port, rate, seconds } = options;
  const total = Math.round(rate * seconds);
  const text = `GET / HTTP/1.1\r\nhost: ${host}:${port}\r\n\r\n`;
  const idle = Array.from({ length: options.connections }, () => new Connection(options));
  const all = [...idle];
  const latencies = new Float64Array(total);
  let [due, sent, ended, errors] = [0, 0, 0, 0];
  const began = performance.now() + 50;
  const dueAt = (number: number) => began + (number * 1000) / rate;
  const send = (): void => {
    while (sent < due && idle.length > 0) {
      const connection = idle.shift()!;
      const number = sent++;
      connection.request(text, (ok) => {
        latencies[number] = performance.now() - dueAt(number);
        ended++;
        if (!ok) errors++;
        idle.push(connection);
        send();
      });
    }
  };
  const stop = startTicks(() => {
    const now = performance.now();
    while (due < total && dueAt(due) <= now) due++;
    send();
    return ended === total || now > dueAt(total) + patienceMs;
  });
  await stop;
  for (const connection of all) connection.close();
  // What was never answered waited at least until now.
  const now = performance.now();
  for (let number = 0; number < total; number++) if (latencies[number] === 0) latencies[number] = now - dueAt(number);
  errors += total - ended;
  latencies.sort();
  const at = (share: number) => latencies[Math.max(0, Math.ceil(share * total) - 1)]!;
  return { requests: total, errors, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
}

/** Calls `onTick` until it says that all is over. */
async function startTicks(onTick: () => boolean): Promise<void> {
  const shared = new SharedArrayBuffer(4);
  const ticks = new Int32Array(shared);
  const worker = new Worker(ticker, { eval: true, workerData: { shared, tickMs } });
  try {
    for (;;) {
      const { value } = Atomics.waitAsync(ticks, 0, Atomics.load(ticks, 0));
      await value;
      if (onTick()) return;
    }
  } finally {
    await worker.terminate();
  }
}
