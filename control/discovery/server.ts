/** The proxy protocol's server: one long-lived HTTP/2 stream per proxy over mutual TLS (protocol/discovery.ts). */
import type { Server } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { InboundPolicy } from '../../protocol/discovery.ts';
import { type Identity, parseSpiffeId } from '../../protocol/identity.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import type { TracingSettings } from '../../protocol/tracing.ts';
import type { HeaderList } from '../../proxy/http2/header-list.ts';
import { Http2Session } from '../../proxy/http2/session.ts';
import { byteStream, type Http2Stream } from '../../proxy/http2/stream.ts';
import { smallBlocks } from '../../proxy/net/write-blocks.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import { lateHandshakes } from '../late-handshake.ts';
import type { Log } from '../log.ts';
import { Connection } from './connection.ts';
import type { Subscriptions } from './subscriptions.ts';

/** A proxy whose node went away closes nothing: one that answers no ping for a whole interval is gone. */
const pingEveryMs = 15_000;
/** One stream carries everything; more than one only while a proxy begins anew. */
const settings = { streamWindow: 1 << 20, connectionWindow: 2 << 20, maxStreams: 4, maxHeaderListBytes: 16_384 };

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

type Session = Http2Session<Http2Stream>;

/** What of a proxy's certificate is asked for later. */
interface Peer {
  /** Its first name: a SPIFFE ID, if it is one of ours. */
  id: string;
  expires: Date;
}

function peerOf(socket: TLSSocket): Peer {
  const { subjectAltName = '', validTo = '' } = socket.getPeerX509Certificate() ?? {};
  return { id: subjectAltName.replace(/^URI:/, ''), expires: new Date(validTo) };
}

export class DiscoveryServer {
  readonly server: Server;
  readonly #tls: tls.Server;
  readonly #options: DiscoveryOptions;
  /** Whether each has answered the last ping. */
  readonly #sessions = new Map<Session, boolean>();
  readonly #pinger: NodeJS.Timeout;
  readonly #connections = new Set<Connection>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#tls = tls.createServer(
      {
        ...this.#context(options.own),
        // Of ALPNProtocols each connection would hold a copy, and with it a piece of Buffer's pool.
        ALPNCallback: ({ protocols }) => (protocols.includes('h2') ? 'h2' : undefined),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => this.#onConnection(socket),
    );
    this.#tls.on('tlsClientError', (error, socket) =>
      options.log.warn('proxy refused', { reason: error.message, from: socket.remoteAddress }),
    );
    this.server = lateHandshakes(this.#tls);
    this.#pinger = setInterval(() => this.#ping(), options.pingEveryMs ?? pingEveryMs).unref();
  }

  get proxies(): ProxyStream[] {
    return [...this.#connections].flatMap((connection) => connection.proxy ?? []);
  }

  renew(own: OwnCertificate): void {
    this.#tls.setSecureContext(this.#context(own));
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

  #context({ key, cert }: OwnCertificate): tls.SecureContextOptions {
    return { key, cert, ca: this.#options.trustBundle(), minVersion: 'TLSv1.3' };
  }

  #ping(): void {
    for (const [session, answered] of this.#sessions) {
      if (!answered) {
        this.#options.log.info('proxy gone: it answers no pings');
        session.destroy(new Error('no answer to a ping'));
        continue;
      }
      this.#sessions.set(session, false);
      session.ping(() => {
        if (this.#sessions.has(session)) this.#sessions.set(session, true);
      });
    }
  }

  #onConnection(socket: TLSSocket): void {
    const { log } = this.#options;
    if (socket.alpnProtocol !== 'h2') {
      log.warn('proxy refused', { reason: 'it does not speak HTTP/2', from: socket.remoteAddress });
      socket.destroy();
      return;
    }
    const peer = peerOf(socket);
    const session: Session = new Http2Session(socket, {
      ...{ role: 'server', settings, makeStream: byteStream, writeBlocks: smallBlocks },
      onStream: (stream, list) => this.#onStream(stream, list, peer),
      onClose: (error) => {
        this.#sessions.delete(session);
        if (error) log.debug('proxy connection failed', { reason: error.message });
      },
    });
    this.#sessions.set(session, true);
  }

  #onStream(stream: Http2Stream, head: HeaderList, { id, expires }: Peer): void {
    stream.on('error', () => stream.destroy());
    const identity = parseSpiffeId(id);
    if (head.value(':method') !== 'POST' || head.value(':path') !== '/v1/proxy')
      return stream.respond([':status', '404'], true);
    if (!identity || identity.trustDomain !== this.#options.trustDomain) {
      this.#options.log.warn('proxy refused', { reason: 'its certificate names no identity of this trust domain', id });
      return stream.respond([':status', '403'], true);
    }
    stream.respond([':status', '200', 'content-type', 'application/x-ndjson']);
    const connection = new Connection(stream, identity, expires, this.#options);
    this.#connections.add(connection);
    stream.on('close', () => {
      this.#connections.delete(connection);
      connection.close();
    });
  }
}
