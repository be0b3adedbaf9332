/** The proxy protocol's server: one long-lived HTTP/2 stream per proxy over mutual TLS (protocol/discovery.ts). */
import http2, { type Http2SecureServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  type Address,
  type ControlMessage,
  type InboundPolicy,
  maxMessageBytes,
  type ProxyMessage,
  parseAddress,
} from '../../protocol/discovery.ts';
import { type Identity, parseSpiffeId } from '../../protocol/identity.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import type { TracingSettings } from '../../protocol/tracing.ts';
import { version } from '../../protocol/version.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import type { Log } from '../log.ts';
import { checkReport } from '../telemetry/report.ts';
import type { Line, Subscriptions } from './subscriptions.ts';

/**
 * Bytes a proxy may be behind before only the newest state of each target is kept for it. Little: a thousand proxies
 * that come back at once are told of everything, and each connection keeps a buffer as large as its largest write.
 */
const maxBehind = 16 << 10;
/** Beyond this a proxy is not slow, it does not read: its stream ends, and it comes back when it can. */
const maxUnread = 4 << 20;
/** A proxy whose node went away closes nothing: one that answers no ping for a whole interval is gone. */
const pingEveryMs = 15_000;
const maxSubscriptions = 20_000;

export interface ProxyStream {
  identity: Identity;
  pod: string;
  version: string;
  certificateExpires: Date;
  connectedSince: Date;
}

export interface DiscoveryOptions {
  own: OwnCertificate;
  trustDomain: string;
  /** Pod of this replica. */
  replica: string;
  trustBundle: () => string;
  tracing: TracingSettings | null;
  subscriptions: Subscriptions;
  /** Service account of a pod; undefined where the pod is not known (yet). */
  serviceAccountOf: (namespace: string, pod: string) => string | undefined;
  policyFor: (namespace: string, pod: string) => InboundPolicy;
  onTelemetry: (proxy: ProxyStream, report: TelemetryReport) => void;
  log: Log;
  pingEveryMs?: number;
}

export class DiscoveryServer {
  readonly server: Http2SecureServer;
  readonly #options: DiscoveryOptions;
  /** Whether each has answered the last ping. */
  readonly #sessions = new Map<ServerHttp2Session, boolean>();
  readonly #pinger: NodeJS.Timeout;
  readonly #connections = new Set<Connection>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.server = http2.createSecureServer({
      key: options.own.key,
      cert: options.own.cert,
      ca: options.trustBundle(),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      settings: { maxConcurrentStreams: 4, enablePush: false },
    });
    this.server.on('session', (session) => {
      this.#sessions.set(session, true);
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', (error) => options.log.debug('proxy connection failed', { reason: error.message }));
    });
    this.server.on('tlsClientError', (error, socket: TLSSocket) =>
      options.log.warn('proxy refused', { reason: error.message, from: socket.remoteAddress }),
    );
    this.server.on('stream', (stream, headers) => this.#onStream(stream as ServerHttp2Stream, headers));
    this.#pinger = setInterval(() => this.#ping(), options.pingEveryMs ?? pingEveryMs).unref();
    this.server.on('sessionError', (error) => options.log.debug('proxy session failed', { reason: error.message }));
  }

  get proxies(): ProxyStream[] {
    return [...this.#connections].flatMap((connection) => connection.proxy ?? []);
  }

  renew(own: OwnCertificate): void {
    this.server.setSecureContext({
      key: own.key,
      cert: own.cert,
      ca: this.#options.trustBundle(),
      minVersion: 'TLSv1.3',
    });
  }

  /** After services of a namespace may have changed, or one of its pods. */
  refreshPolicies(namespace: string, pod?: string): void {
    for (const connection of this.#connections) {
      const { proxy } = connection;
      if (proxy?.identity.namespace === namespace && (pod === undefined || proxy.pod === pod)) connection.sendPolicy();
    }
  }

  /** After the roots to trust may have changed: proxies that have not been told are. */
  refreshTrust(): void {
    for (const connection of this.#connections) connection.sendTrust();
  }

  /** Sends every proxy elsewhere. */
  drain(): void {
    clearInterval(this.#pinger);
    this.server.close();
    for (const session of this.#sessions.keys()) session.close();
    for (const connection of this.#connections) connection.end();
  }

  #ping(): void {
    for (const [session, answered] of this.#sessions) {
      if (!answered) {
        this.#options.log.info('proxy gone: it answers no pings');
        session.destroy();
        continue;
      }
      this.#sessions.set(session, false);
      session.ping((error) => {
        if (!error && this.#sessions.has(session)) this.#sessions.set(session, true);
      });
    }
  }

  #onStream(stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    stream.on('error', () => stream.destroy());
    const socket = stream.session?.socket as TLSSocket | undefined;
    const certificate = socket?.getPeerX509Certificate?.();
    const id = (certificate?.subjectAltName ?? '').replace(/^URI:/, '');
    const identity = parseSpiffeId(id);
    if (headers[':method'] !== 'POST' || headers[':path'] !== '/v1/proxy')
      return stream.respond({ ':status': 404 }, { endStream: true });
    if (!certificate || !identity || identity.trustDomain !== this.#options.trustDomain) {
      this.#options.log.warn('proxy refused', { reason: 'its certificate names no identity of this trust domain', id });
      return stream.respond({ ':status': 403 }, { endStream: true });
    }
    stream.respond({ ':status': 200, 'content-type': 'application/x-ndjson' });
    const connection = new Connection(stream, identity, new Date(certificate.validTo), this.#options);
    this.#connections.add(connection);
    stream.on('close', () => {
      this.#connections.delete(connection);
      connection.close();
    });
  }
}

class Connection {
  proxy: ProxyStream | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #identity: Identity;
  #expires: Date;
  readonly #options: DiscoveryOptions;
  readonly #subscriptions = new Map<Address, () => void>();
  /** Newest state of targets that could not be sent yet. */
  readonly #behind = new Map<Address, Line>();
  #policy = '';
  #trust = '';
  #rest: string = '';

  constructor(stream: ServerHttp2Stream, identity: Identity, expires: Date, options: DiscoveryOptions) {
    this.#stream = stream;
    this.#identity = identity;
    this.#expires = expires;
    this.#options = options;
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#onData(text));
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
    if (this.#stream.destroyed || this.#stream.closed || this.#stream.writableEnded) return;
    if (this.#stream.writableLength > maxUnread) return this.#refuse('it does not read what it is sent');
    this.#stream.write(line, this.#written);
  }

  #sendTarget(address: Address, line: Line): void {
    if (this.#stream.writableLength > maxBehind) this.#behind.set(address, line);
    else this.#write(line);
  }

  readonly #written = (error: Error | null | undefined): void => {
    if (!error && this.#behind.size > 0) this.#catchUp();
  };

  #catchUp(): void {
    for (const [address, line] of this.#behind) {
      if (this.#stream.writableLength > maxBehind) return;
      this.#behind.delete(address);
      if (this.#subscriptions.has(address)) this.#write(line);
    }
  }

  #onData(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    if (this.#rest.length > maxMessageBytes) return this.#refuse('a message is too long');
    for (const line of lines) {
      if (line === '') continue;
      let message: ProxyMessage;
      try {
        message = JSON.parse(line) as ProxyMessage;
      } catch {
        return this.#refuse('a message is not JSON');
      }
      try {
        this.#onMessage(message);
      } catch (error) {
        return this.#refuse(`a message is not of the protocol: ${(error as Error).message}`);
      }
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
    this.#stream.close(http2.constants.NGHTTP2_PROTOCOL_ERROR);
  }
}
