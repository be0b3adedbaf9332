/** One proxy's stream: what it asks for and reports, and what it is told. */
import {
  type Address,
  type ControlMessage,
  maxMessageBytes,
  type ProxyMessage,
  parseAddress,
} from '../../protocol/discovery.ts';
import type { Identity } from '../../protocol/identity.ts';
import { LineReader } from '../../protocol/line-reader.ts';
import { version } from '../../protocol/version.ts';
import { errorCode } from '../../proxy/http2/frames.ts';
import type { Http2Stream } from '../../proxy/http2/stream.ts';
import { checkReport } from '../telemetry/report.ts';
import type { DiscoveryOptions, ProxyStream } from './server.ts';
import type { Line } from './subscriptions.ts';

/**
 * Bytes a proxy may be behind before only the newest state of each target is kept for it. Little: a thousand proxies
 * that come back at once are told of everything.
 */
const maxBehind = 16 << 10;
/** Beyond this a proxy is not slow, it does not read: its stream ends, and it comes back when it can. */
const maxUnread = 4 << 20;
const maxSubscriptions = 20_000;

export class Connection {
  proxy: ProxyStream | undefined;
  readonly #stream: Http2Stream;
  readonly #identity: Identity;
  #expires: Date;
  readonly #options: DiscoveryOptions;
  readonly #subscriptions = new Map<Address, () => void>();
  /** Newest state of targets that could not be sent yet. */
  readonly #behind = new Map<Address, Line>();
  #policy = '';
  #trust = '';

  constructor(stream: Http2Stream, identity: Identity, expires: Date, options: DiscoveryOptions) {
    this.#stream = stream;
    this.#identity = identity;
    this.#expires = expires;
    this.#options = options;
    const lines = new LineReader(maxMessageBytes, (line) => this.#onLine(line));
    stream.on('data', (chunk: Buffer) => {
      if (!stream.destroyed && !lines.push(chunk)) this.#refuse('a message is too long');
    });
    stream.on('end', () => stream.end());
    this.#send({ type: 'hello', pod: options.replica, version });
    this.#send({ type: 'tracing', tracing: options.tracing });
    this.sendTrust();
  }

  close(): void {
    for (const stop of this.#subscriptions.values()) stop();
    this.#subscriptions.clear();
  }

  end(): void {
    this.#stream.end();
  }

  sendTrust(): void {
    const pem = this.#options.trustBundle();
    if (pem === this.#trust) return;
    this.#trust = pem;
    this.#send({ type: 'trust-bundle', pem });
  }

  sendPolicy(): void {
    if (!this.proxy) return;
    const policy = this.#options.policyFor(this.#identity.namespace, this.proxy.pod);
    const text = JSON.stringify(policy);
    if (text === this.#policy) return;
    this.#policy = text;
    this.#send({ type: 'policy', policy });
  }

  #send(message: ControlMessage): void {
    this.#write(`${JSON.stringify(message)}\n`);
  }

  #write(line: string | Line): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    if (this.#stream.queuedBytes > maxUnread) return this.#refuse('it does not read what it is sent');
    this.#stream.write(line, this.#written);
  }

  #sendTarget(address: Address, line: Line): void {
    if (this.#stream.queuedBytes > maxBehind) this.#behind.set(address, line);
    else this.#write(line);
  }

  readonly #written = (error: Error | null | undefined): void => {
    if (!error && this.#behind.size > 0) this.#catchUp();
  };

  #catchUp(): void {
    for (const [address, line] of this.#behind) {
      if (this.#stream.queuedBytes > maxBehind) return;
      this.#behind.delete(address);
      if (this.#subscriptions.has(address)) this.#write(line);
    }
  }

  #onLine(line: string): void {
    // Lines that came together with one that ended the stream.
    if (this.#stream.destroyed) return;
    let message: ProxyMessage;
    try {
      message = JSON.parse(line) as ProxyMessage;
    } catch {
      return this.#refuse('a message is not JSON');
    }
    try {
      this.#onMessage(message);
    } catch (error) {
      this.#refuse(`a message is not of the protocol: ${(error as Error).message}`);
    }
  }

  #onMessage(message: ProxyMessage): void {
    switch (message.type) {
      case 'hello': {
        if (typeof message.pod !== 'string' || typeof message.version !== 'string')
          return this.#refuse('a hello names no pod or no version');
        if (message.namespace !== this.#identity.namespace)
          return this.#refuse(`pod ${message.namespace}/${message.pod} is not of the identity's namespace`);
        const account = this.#options.serviceAccountOf(message.namespace, message.pod);
        if (account !== undefined && account !== this.#identity.serviceAccount)
          return this.#refuse(`pod ${message.namespace}/${message.pod} has another service account: ${account}`);
        this.proxy = {
          identity: this.#identity,
          pod: message.pod,
          version: message.version,
          certificateExpires: this.#expires,
          connectedSince: new Date(),
        };
        this.sendPolicy();
        return;
      }
      case 'certificate': {
        const expires = new Date(message.not_after);
        if (Number.isNaN(expires.getTime())) return this.#refuse('a certificate has no end');
        this.#expires = expires;
        if (this.proxy) this.proxy.certificateExpires = expires;
        return;
      }
      case 'subscribe':
        if (typeof message.address !== 'string' || !parseAddress(message.address))
          return this.#refuse('a subscription names no address');
        if (this.#subscriptions.has(message.address)) return;
        if (this.#subscriptions.size >= maxSubscriptions) return this.#refuse('too many subscriptions');
        this.#subscriptions.set(
          message.address,
          this.#options.subscriptions.subscribe(message.address, (line) => this.#sendTarget(message.address, line)),
        );
        return;
      case 'unsubscribe':
        this.#subscriptions.get(message.address)?.();
        this.#subscriptions.delete(message.address);
        this.#behind.delete(message.address);
        return;
      case 'telemetry':
        if (!this.proxy) return this.#refuse('telemetry before hello');
        checkReport(message.report);
        this.#options.onTelemetry(this.proxy, message.report);
        this.#send({ type: 'telemetry-ack', sequence: message.report.sequence });
        return;
      default:
        // A newer proxy may say more than this control plane understands.
        this.#options.log.debug('message not understood', { type: (message as { type: unknown }).type });
    }
  }

  #refuse(reason: string): void {
    this.#options.log.warn('proxy stream ended', { reason, namespace: this.#identity.namespace, pod: this.proxy?.pod });
    this.#stream.reset(errorCode.protocolError);
  }
}
