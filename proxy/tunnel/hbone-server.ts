/** The server's end of HBONE: mutual TLS, HTTP/2, one CONNECT stream per carried connection. */
import tls from 'node:tls';
import { type Address, parseAddress } from '../../protocol/discovery.ts';
import type { SpiffeId } from '../../protocol/identity.ts';
import { errorCode } from '../http2/frames.ts';
import type { HeaderList } from '../http2/header-list.ts';
import { Http2Session } from '../http2/session.ts';
import { byteStream, type Http2Stream } from '../http2/stream.ts';
import { shareReads } from '../net/shared-reads.ts';
import { type Credentials, tlsOptions } from '../tls/credentials.ts';
import { handshakeReason, type RefusalReason, verifyPeer } from '../tls/verify.ts';
import { tunnelSettings } from './settings.ts';

export interface TunnelRequest {
  destination: Address;
  peer: SpiffeId;
  /** Workload of the peer as its proxy names it, e.g. `shop/deployment/web`; empty where it does not. */
  baggage: string;
  /** Answers 200; bytes flow from now on. */
  accept(): Http2Stream;
  /** 400, 401 or 503. */
  refuse(status: number): void;
}

export interface HboneServerOptions {
  credentials: Credentials;
  trustDomain: string;
  /** The pod's own addresses: nothing else may be dialled through this end. */
  podIps: readonly string[];
  onTunnel(request: TunnelRequest): void;
  onRefused(reason: RefusalReason, detail: string, address: string): void;
}

const maxSessions = 4096;
/** Before the system asks whether a client is still there. */
const silentMs = 60_000;

export class HboneServer {
  readonly #server: tls.Server;
  readonly #sessions = new Set<Http2Session<Http2Stream>>();
  readonly #options: HboneServerOptions;

  constructor(options: HboneServerOptions) {
    this.#options = options;
    this.#server = tls.createServer({
      ...options.credentials.pem,
      ...tlsOptions,
      ALPNProtocols: ['h2'],
      requestCert: true,
      rejectUnauthorized: false,
      allowHalfOpen: true,
      noDelay: true,
      // A client that is there pings; one whose node went away closes nothing.
      keepAlive: true,
      keepAliveInitialDelay: silentMs,
    });
    this.#server.maxConnections = maxSessions;
    options.credentials.onChange(() => this.#server.setSecureContext({ ...options.credentials.pem, ...tlsOptions }));
    this.#server.on('tlsClientError', (error, socket) =>
      options.onRefused(handshakeReason(error), error.message, socket.remoteAddress ?? 'unknown'),
    );
    this.#server.on('secureConnection', (socket) => this.#onConnection(socket));
  }

  listen(port: number, host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Open now. */
  get state(): { connections: number; streams: number } {
    const sessions = [...this.#sessions];
    return { connections: sessions.length, streams: sessions.reduce((sum, { streams }) => sum + streams, 0) };
  }

  /** GOAWAY: what is carried finishes, nothing new begins. */
  drain(): void {
    this.#server.close();
    for (const session of this.#sessions) session.close();
  }

  destroy(): void {
    this.#server.close();
    for (const session of this.#sessions) session.destroy();
  }

  #onConnection(socket: tls.TLSSocket): void {
    const { trustDomain, onRefused } = this.#options;
    const address = socket.remoteAddress ?? 'unknown';
    socket.on('error', () => socket.destroy());
    const verdict = verifyPeer(socket, { trustDomain, alpn: 'h2' });
    if ('reason' in verdict) {
      onRefused(verdict.reason, verdict.detail, address);
      socket.destroy();
      return;
    }
    shareReads(socket);
    const session: Http2Session<Http2Stream> = new Http2Session(socket, {
      role: 'server',
      settings: tunnelSettings,
      makeStream: byteStream,
      onStream: (stream, list) => this.#onStream(stream, list, verdict.identity),
      onClose: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
  }

  #onStream(stream: Http2Stream, list: HeaderList, peer: SpiffeId): void {
    stream.on('error', () => {}); // its close is what its users hear
    const header = (name: string) => list.value(name) ?? '';
    const destination = header(':authority');
    const parsed = parseAddress(destination);
    if (header(':method') !== 'CONNECT' || !parsed || !this.#options.podIps.includes(parsed.ip)) {
      stream.respond([':status', '400'], true);
      return;
    }
    this.#options.onTunnel({
      destination: destination as Address,
      peer,
      baggage: header('baggage').slice(0, 1024),
      accept() {
        stream.respond([':status', '200']);
        // RFC 9113 section 8.5: nothing but DATA from now on.
        stream.onHeaders = () => stream.reset(errorCode.protocolError);
        return stream;
      },
      refuse: (status) => stream.respond([':status', String(status)], true),
    });
  }
}
