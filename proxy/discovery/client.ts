/** The proxy's end of the proxy protocol (protocol/discovery.ts): one stream to the control plane, for ever. */
import type { ControlState } from '../../protocol/diagnostics.ts';
import { type ControlMessage, maxMessageBytes, type ProxyMessage } from '../../protocol/discovery.ts';
import type { SpiffeId } from '../../protocol/identity.ts';
import { LineReader } from '../../protocol/line-reader.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import { Http2Session } from '../http2/session.ts';
import { byteStream, type Http2Stream } from '../http2/stream.ts';
import type { Logger } from '../log.ts';
import { controlTimeouts } from '../tls/control-timeouts.ts';
import type { Credentials } from '../tls/credentials.ts';
import { dial } from '../tls/dial.ts';

const firstRetryMs = 200;
const lastRetryMs = 10_000;
const pingEveryMs = 10_000;
/** One stream, which carries everything: its window may be the connection's but for a little. */
const streamSettings = { streamWindow: 1 << 20, connectionWindow: 2 << 20, maxStreams: 1, maxHeaderListBytes: 16_384 };

export interface DiscoveryOptions {
  host: string;
  port: number;
  credentials: Credentials;
  trustDomain: string;
  controlIdentity: SpiffeId;
  hello: Extract<ProxyMessage, { type: 'hello' }>;
  log: Logger;
  /** The stream is there; `hello` has been sent. All subscriptions are to be sent (again). */
  onOpen(): void;
  /** Any message but `hello`. */
  onMessage(message: Exclude<ControlMessage, { type: 'hello' }>): void;
  /** The stream is gone; it will be opened again. */
  onClose(): void;
  /** 0 ≤ x < 1. */
  random?: () => number;
}

export class DiscoveryClient {
  readonly #options: DiscoveryOptions;
  #session: Http2Session<Http2Stream> | undefined;
  #stream: Http2Stream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pinger: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;
  #connected = false;
  #since: Date | undefined;
  #replica: Extract<ControlMessage, { type: 'hello' }> | undefined;
  #error: string | undefined;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /** Whether the control plane answers now. */
  get connected(): boolean {
    return this.#connected;
  }

  get state(): ControlState {
    return {
      connected: this.#connected,
      since: this.#since?.toISOString() ?? null,
      replica: this.#replica?.pod ?? null,
      version: this.#replica?.version ?? null,
      error: this.#error ?? null,
    };
  }

  /** Connects as soon as there is a certificate to connect with. */
  start(): void {
    const { credentials } = this.#options;
    if (credentials.certified) return this.#connect();
    let waiting = true;
    credentials.onChange(() => {
      if (waiting && !this.#stopped) {
        waiting = false;
        this.#connect();
      }
    });
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    this.#session?.destroy();
  }

  /** Dropped where there is no stream: whatever matters is sent again on open. */
  send(message: ProxyMessage): void {
    const stream = this.#stream;
    if (!stream || !this.#connected) return;
    if (stream.queuedBytes > maxMessageBytes) {
      this.#session?.destroy(new Error('the control plane does not read'));
      return;
    }
    stream.write(`${JSON.stringify(message)}\n`);
  }

  #connect(): void {
    const { host, port, credentials, trustDomain, controlIdentity: identity } = this.#options;
    dial(
      { host, port, credentials, trustDomain, identity, alpn: 'h2', ...controlTimeouts(this.#failures) },
      (error, socket) => {
        if (!socket) return this.#again(error?.message ?? 'no connection');
        if (this.#stopped) return void socket.destroy();
        const session: Http2Session<Http2Stream> = new Http2Session(socket, {
          role: 'client',
          settings: streamSettings,
          makeStream: byteStream,
          onGoaway: () => session.destroy(),
          onClose: (cause) => this.#closed(session, cause?.message ?? 'the control plane closed the stream'),
        });
        this.#session = session;
        this.#open(session, host);
      },
    );
  }

  #open(session: Http2Session<Http2Stream>, host: string): void {
    const head = [':method', 'POST', ':scheme', 'https', ':authority', host, ':path', '/v1/proxy'];
    const stream = session.request(encodeHeaders([...head, 'content-type', 'application/x-ndjson']));
    stream.onHeaders = (list) => {
      const status = list.value(':status');
      if (status !== '200') return session.destroy(new Error(`the control plane answered ${status}`));
      this.#failures = 0;
      this.#connected = true;
      this.#since = new Date();
      this.#options.log.info('connected to the control plane');
      this.#options.onOpen();
    };
    this.#stream = stream;
    const reader = new LineReader(maxMessageBytes, (line) => this.#onLine(line));
    stream.on('data', (chunk: Buffer) => {
      if (!reader.push(chunk)) session.destroy(new Error('a message of the control plane is too long'));
    });
    stream.on('error', (cause) => session.destroy(cause));
    stream.on('close', () => session.destroy());
    stream.write(`${JSON.stringify(this.#options.hello)}\n`);
    let answered = true;
    this.#pinger = setInterval(() => {
      if (!answered) return session.destroy(new Error('the control plane answers no pings'));
      answered = false;
      session.ping(() => {
        answered = true;
      });
    }, pingEveryMs);
    this.#pinger.unref();
  }

  #onLine(line: string): void {
    let message: ControlMessage;
    try {
      message = JSON.parse(line) as ControlMessage;
    } catch {
      this.#session?.destroy(new Error('a message of the control plane is not JSON'));
      return;
    }
    if (message.type === 'hello') this.#replica = message;
    else this.#options.onMessage(message);
  }

  #closed(session: Http2Session<Http2Stream>, why: string): void {
    if (this.#session !== session) return;
    clearInterval(this.#pinger);
    this.#session = undefined;
    this.#stream = undefined;
    const was = this.#connected;
    this.#connected = false;
    this.#replica = undefined;
    if (was) this.#since = new Date();
    if (was) this.#options.onClose();
    this.#again(why);
  }

  #again(why: string): void {
    if (this.#stopped) return;
    const { random = Math.random, log } = this.#options;
    const wait = Math.min(lastRetryMs, firstRetryMs * 2 ** this.#failures) * (0.5 + random());
    this.#failures = Math.min(this.#failures + 1, 10);
    this.#error = why;
    log.warn('no control plane; what is known stays in use', { why, retryMs: Math.round(wait) });
    this.#timer = setTimeout(() => this.#connect(), wait);
  }
}
