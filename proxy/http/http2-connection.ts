/** Serves one client's HTTP/2 connection: each of its streams is a request of its own. */
import type { Duplex } from 'node:stream';
import type { HeaderList } from '../http2/header-list.ts';
import { readRequest } from '../http2/message-rules.ts';
import { type MessageStream, messageStream } from '../http2/message-stream.ts';
import { Http2Session } from '../http2/session.ts';
import { requestSettings } from '../http2/settings.ts';
import type { Timed } from '../net/timer-wheel.ts';
import type { Http2Options } from './exchange.ts';
import { Http2Exchange } from './http2-exchange.ts';
import { refuse } from './refuse.ts';

/** Between two glances: for its settings and for the rest of a header block there are one to two of them. */
const glanceMs = 30_000;
const idleTimeoutMs = 3_600_000;

export class Http2Connection implements Timed {
  deadline: number;
  readonly #options: Http2Options;
  readonly #session: Http2Session<MessageStream>;
  #usedAt: number;
  /** What the client had to go on with at the last glance. */
  #unfinished: string | undefined;

  /** `initial`: what was read of the connection before, the preface included. */
  constructor(client: Duplex, initial: Buffer | undefined, options: Http2Options) {
    this.#options = options;
    const { timers } = options;
    this.#usedAt = timers.now;
    this.deadline = timers.now + glanceMs;
    timers.add(this);
    this.#session = new Http2Session(client, {
      role: 'server',
      settings: requestSettings,
      makeStream: messageStream,
      onStream: (stream, list, end) => this.#onStream(stream, list, end),
      onTooLarge: (stream) => this.#refuse(stream, 'head-too-large', false, false),
      onClose: () => {
        timers.remove(this);
        options.onClose();
      },
    });
    if (initial && initial.length > 0) this.#session.receive(initial);
    if (client.readableEnded || client.destroyed) this.#session.destroy();
  }

  /** Takes the requests that are on their way and no more, then ends the connection. */
  drain(): void {
    this.#session.drain();
  }

  destroy(): void {
    this.#session.destroy(new Error('cut off'));
  }

  expire(): void {
    const { now } = this.#options.timers;
    // A block that is open at one glance may be whole at the next moment.
    const unfinished = this.#session.unfinished;
    if (unfinished && unfinished === this.#unfinished) return this.destroy();
    this.#unfinished = unfinished;
    if (this.#session.streams > 0) this.#usedAt = now;
    else if (now - this.#usedAt > idleTimeoutMs) return this.#session.drain();
    this.deadline = now + glanceMs;
  }

  #onStream(client: MessageStream, list: HeaderList, end: boolean): void {
    this.#usedAt = this.#options.timers.now;
    const head = readRequest(list);
    if (typeof head !== 'string') {
      return new Http2Exchange(this.#options, client, { list, head, end }).begin();
    }
    const grpc = list.value('content-type')?.startsWith('application/grpc') === true;
    this.#refuse(client, head, grpc, list.value(':method') === 'HEAD');
  }

  #refuse(client: MessageStream, code: string, grpc: boolean, head: boolean): void {
    this.#options.onRefused(code);
    refuse(client, code, '', { header: this.#options.errorHeader, head, grpc });
  }
}
