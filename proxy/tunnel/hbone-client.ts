/** The client's end of HBONE: few connections per peer, many streams on each. */
import type { TunnelState } from '../../protocol/diagnostics.ts';
import { type Endpoint, parseAddress } from '../../protocol/discovery.ts';
import type { SpiffeId } from '../../protocol/identity.ts';
import { hbonePort } from '../../protocol/ports.ts';
import { ProxyError } from '../error.ts';
import { errorCode } from '../http2/frames.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import { Http2Session } from '../http2/session.ts';
import { byteStream, type Http2Stream } from '../http2/stream.ts';
import { shareReads } from '../net/shared-reads.ts';
import type { Credentials } from '../tls/credentials.ts';
import { dial } from '../tls/dial.ts';
import type { RefusalReason } from '../tls/verify.ts';
import { tunnelSettings } from './settings.ts';

const streamsPerSession = 100;
const idleSessionMs = 300_000;
const pingEveryMs = 10_000;
const pingTimeoutMs = 20_000;
/** Beyond the connect timeout: the peer's own wait for its application ends within it. */
const answerGraceMs = 1_000;

export interface HboneClientOptions {
  credentials: Credentials;
  trustDomain: string;
  connectTimeoutMs: number;
  /** Who asks, for the server's telemetry: `namespace/kind/name`. */
  baggage: string;
  /** Port of the peers' HBONE listener; another than 15008 in tests. */
  port?: number;
  onRefused(reason: RefusalReason, detail: string, address: string): void;
}

type StreamCallback = (error: ProxyError | undefined, stream: Http2Stream | undefined) => void;

interface Entry {
  session: Http2Session<Http2Stream>;
  generation: number;
  idleSince: number;
  pinging: boolean;
}

/** All connections to one peer address under one expected identity. */
class Peer {
  sessions: Entry[] = [];
  waiting: { authority: string; callback: StreamCallback }[] = [];
  dialling = false;
}

export class HboneClient {
  readonly #options: HboneClientOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #keeper: NodeJS.Timeout;

  constructor(options: HboneClientOptions) {
    this.#options = options;
    this.#keeper = setInterval(() => this.#keep(), pingEveryMs);
    this.#keeper.unref();
  }

  /** Of the certificate that new streams travel under. */
  get generation(): number {
    return this.#options.credentials.generation;
  }

  get peers(): number {
    return this.#peers.size;
  }

  /** What is open to the first so many peers. */
  state(count: number): TunnelState[] {
    return [...this.#peers].slice(0, count).map(([key, { sessions }]) => {
      const [peer = '', identity = ''] = key.split(' ');
      const streams = sessions.reduce((sum, { session }) => sum + session.streams, 0);
      return { peer, identity, connections: sessions.length, streams };
    });
  }

  /** A CONNECT stream to the endpoint's address, answered with 200. */
  open(endpoint: Endpoint, callback: StreamCallback): void {
    if (!this.#options.credentials.context) {
      callback(
        new ProxyError('connect-failed', 'this proxy has no certificate yet', { source: 'proxy', retry: 'yes' }),
        undefined,
      );
      return;
    }
    const { ip } = parseAddress(endpoint.address)!;
    const identity = endpoint.identity!;
    const key = `${ip} ${identity}`;
    let peer = this.#peers.get(key);
    if (!peer) {
      peer = new Peer();
      this.#peers.set(key, peer);
    }
    const { generation } = this.#options.credentials;
    const entry = peer.sessions.find(
      (one) => one.generation === generation && one.session.streams < streamsPerSession && one.session.usable,
    );
    if (entry) return this.#stream(entry, endpoint.address, callback);
    peer.waiting.push({ authority: endpoint.address, callback });
    if (!peer.dialling) this.#dial(peer, key, ip, identity);
  }

  close(): void {
    clearInterval(this.#keeper);
    for (const peer of this.#peers.values()) for (const { session } of peer.sessions) session.close();
  }

  #dial(peer: Peer, key: string, ip: string, identity: SpiffeId): void {
    const { credentials, trustDomain, connectTimeoutMs, port = hbonePort } = this.#options;
    peer.dialling = true;
    const { generation } = credentials;
    dial(
      {
        host: ip,
        port,
        credentials,
        trustDomain,
        identity,
        alpn: 'h2',
        timeoutMs: connectTimeoutMs,
        onRefused: (reason, detail) => this.#options.onRefused(reason, detail, ip),
      },
      (error, socket) => {
        peer.dialling = false;
        if (!socket) {
          const waiting = peer.waiting.splice(0);
          if (peer.sessions.length === 0) this.#peers.delete(key);
          for (const { callback } of waiting) callback(error, undefined);
          return;
        }
        const gone = () => {
          const at = peer.sessions.indexOf(entry);
          if (at >= 0) peer.sessions.splice(at, 1);
          if (peer.sessions.length === 0 && peer.waiting.length === 0 && !peer.dialling) this.#peers.delete(key);
        };
        shareReads(socket);
        const session = new Http2Session(socket, {
          role: 'client',
          settings: tunnelSettings,
          makeStream: byteStream,
          onClose: gone,
        });
        const entry: Entry = { session, generation, idleSince: performance.now(), pinging: false };
        peer.sessions.push(entry);
        const waiting = peer.waiting.splice(0, streamsPerSession);
        for (const { authority, callback } of waiting) this.#stream(entry, authority, callback);
        if (peer.waiting.length > 0) this.#dial(peer, key, ip, identity);
      },
    );
  }

  #stream(entry: Entry, authority: string, callback: StreamCallback): void {
    const { baggage, connectTimeoutMs } = this.#options;
    if (!entry.session.usable) {
      const message = `${authority}: the tunnel is closing`;
      return callback(new ProxyError('connect-failed', message, { source: 'server', retry: 'yes' }), undefined);
    }
    const head = encodeHeaders([':method', 'CONNECT', ':authority', authority, 'baggage', baggage]);
    const stream = entry.session.request(head);
    stream.onHeaders = (list) => {
      // RFC 9113 section 8.5: nothing but DATA behind the answer.
      if (settled) return stream.reset(errorCode.protocolError);
      const status = list.value(':status');
      if (status !== '200') return fail('connect-failed', `${authority}: the peer's proxy answered ${status}`);
      settled = true;
      clearTimeout(timer);
      callback(undefined, stream);
    };
    let settled = false;
    const fail = (code: string, message: string) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      stream.destroy();
      callback(new ProxyError(code, message, { source: 'server', retry: 'yes' }), undefined);
    };
    const limit = connectTimeoutMs + answerGraceMs;
    const timer = setTimeout(
      () => fail('connect-timeout', `${authority}: the peer's proxy did not answer within ${limit} ms`),
      limit,
    );
    // The application has not seen the request before 200: any failure until then is safe to retry.
    stream.on('error', (error) => fail('connect-failed', `${authority}: ${error.message}`));
    stream.on('close', () => {
      entry.idleSince = performance.now();
      fail('connect-failed', `${authority}: the peer closed the tunnel`);
    });
  }

  /**
   * Ends idle, outdated and used up connections, and those whose peer no longer answers pings: it may be gone without a
   * word, whether streams can be begun or not.
   */
  #keep(): void {
    const { generation } = this.#options.credentials;
    const now = performance.now();
    for (const peer of this.#peers.values()) {
      for (const entry of [...peer.sessions]) {
        const { session } = entry;
        const wanted = session.lasting && entry.generation === generation && now - entry.idleSince <= idleSessionMs;
        if (session.streams === 0 && !wanted) {
          session.close();
          continue;
        }
        if (entry.pinging) continue;
        const timer = setTimeout(() => session.destroy(new Error('the peer answers no pings')), pingTimeoutMs);
        timer.unref();
        entry.pinging = true;
        session.ping(() => {
          entry.pinging = false;
          clearTimeout(timer);
        });
      }
    }
  }
}
