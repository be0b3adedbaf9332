/**
 * Replicas of the control plane tell each other what their proxies report, so that any of them answers `stat` for the
 * whole mesh, and which proxies are connected. Mutual TLS: only the control plane's own identity may tell or ask. A
 * replica that is away misses what was said meanwhile, but for the newest.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { ProxyInfo, UnreachableReplica } from '../../protocol/api.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import type { Log } from '../log.ts';
import type { Reporter } from './collector.ts';
import { callPeer } from './peer-call.ts';
import type { Replica } from './replicas.ts';
import { ReportQueue } from './report-queue.ts';

const maxBodyBytes = 32 << 20;
/** A replica that was told nothing for this long is told nothing, to see whether it is there. */
const quietMs = 10_000;
/** One that starts or goes answers nothing for a moment. */
const unreachableAfterMs = 5_000;

export interface Told {
  reporter: Reporter;
  report: TelemetryReport;
}

export interface PeersOptions {
  own: OwnCertificate;
  trustBundle: () => string;
  /** SPIFFE ID and DNS name of the control plane, which a peer must show. */
  identity: string;
  serverName: string;
  /** The other replicas, now. */
  others: () => Replica[];
  port: number;
  onReport: (told: Told) => void;
  /** Proxies connected to this replica, for another that asks. */
  proxies: () => ProxyInfo[];
  log: Log;
  /** How often reports are passed on, milliseconds. */
  flushMs: number;
  now?: () => number;
}

interface Peer {
  pod: string;
  queue: ReportQueue;
  busy: boolean;
  toldAt: number;
  /** Since when and why it is not told. */
  failing?: { since: number; reason: string };
}

export class Peers {
  readonly server: https.Server;
  readonly #options: PeersOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #timer: NodeJS.Timeout;
  readonly #now: () => number;
  #own: OwnCertificate;
  #agent: https.Agent;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#own = options.own;
    this.#agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    this.server = https.createServer(this.#tls(), (request, response) => this.#serve(request, response));
    this.#timer = setInterval(() => this.#flush(), options.flushMs);
    this.#timer.unref();
  }

  /** With a new certificate, or after the roots changed. */
  renew(own: OwnCertificate): void {
    this.#own = own;
    this.server.setSecureContext(this.#tls());
    // What the one before still carries may end; idle, its connections are closed by the other side.
    this.#agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  }

  /** Passes on what one of this replica's own proxies reported. */
  tell(told: Told): void {
    this.#follow();
    if (this.#peers.size === 0) return;
    const text = JSON.stringify(told);
    for (const { queue } of this.#peers.values()) queue.push(text);
  }

  /** Replicas that do not answer: what their proxies report may be missing here. */
  unreachable(): UnreachableReplica[] {
    const limit = this.#now() - unreachableAfterMs;
    return [...this.#peers.values()].flatMap(({ pod, failing }) =>
      failing && failing.since <= limit ? [{ pod, reason: failing.reason }] : [],
    );
  }

  /** Proxies connected to the other replicas, and those of them that do not answer. */
  async proxies(): Promise<{ proxies: ProxyInfo[]; unreachable: UnreachableReplica[] }> {
    this.#follow();
    const unreachable: UnreachableReplica[] = [];
    const asked = [...this.#peers].map(async ([address, { pod, failing }]): Promise<ProxyInfo[]> => {
      try {
        // Nobody waits for one that is known not to answer.
        if (failing) throw new Error(failing.reason);
        return JSON.parse(await this.#call(address, '/v1/proxies'));
      } catch (error) {
        unreachable.push({ pod, reason: (error as Error).message });
        return [];
      }
    });
    return { proxies: (await Promise.all(asked)).flat(), unreachable };
  }

  stop(): void {
    clearInterval(this.#timer);
    this.server.close();
    this.#agent.destroy();
  }

  #tls(): https.ServerOptions {
    const { key, cert } = this.#own;
    const ca = this.#options.trustBundle();
    return { key, cert, ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' };
  }

  /** Keeps an entry for each of the other replicas there are, and for no more. */
  #follow(): void {
    const others = this.#options.others();
    const addresses = new Set(others.map(({ address }) => address));
    for (const address of this.#peers.keys()) if (!addresses.has(address)) this.#peers.delete(address);
    for (const { pod, address } of others)
      if (!this.#peers.has(address))
        this.#peers.set(address, { pod, queue: new ReportQueue(), busy: false, toldAt: 0 });
  }

  #flush(): void {
    this.#follow();
    const now = this.#now();
    for (const [address, peer] of this.#peers) {
      if (peer.busy || (peer.queue.isEmpty && !peer.failing && now - peer.toldAt < quietMs)) continue;
      peer.busy = true;
      const batch = peer.queue.take();
      this.#call(address, '/v1/reports', `[${batch.join(',')}]`)
        .then(
          () => {
            delete peer.failing;
            peer.toldAt = this.#now();
          },
          ({ message: reason }: Error) => {
            peer.queue.putBack(batch);
            const say = peer.failing ? 'debug' : 'warn';
            peer.failing = { since: peer.failing?.since ?? now, reason };
            this.#options.log[say]('another replica was not told; it will be tried again', { address, reason });
          },
        )
        .finally(() => {
          peer.busy = false;
        });
    }
  }

  #call(address: string, path: string, body?: string): Promise<string> {
    const { port, serverName, trustBundle } = this.#options;
    const call = { agent: this.#agent, own: this.#own, trustBundle: trustBundle(), serverName, address, port, path };
    return callPeer(body === undefined ? call : { ...call, body });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { identity, onReport, proxies, log } = this.#options;
    const shown = (request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? '';
    if (!shown.split(', ').includes(`URI:${identity}`)) {
      log.warn('call of no replica refused', { shown, from: request.socket.remoteAddress });
      response.writeHead(403).end();
      return;
    }
    if (request.method === 'GET') {
      const isKnown = request.url === '/v1/proxies';
      response.writeHead(isKnown ? 200 : 404).end(isKnown ? JSON.stringify(proxies()) : undefined);
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('error', (error) => log.debug('report of a replica cut off', { reason: error.message }));
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBodyBytes) return void chunks.push(chunk);
      log.warn('reports of a replica refused: too many at once', { from: request.socket.remoteAddress });
      request.destroy();
    });
    request.on('end', () => {
      try {
        for (const told of JSON.parse(Buffer.concat(chunks).toString()) as Told[]) onReport(told);
        response.writeHead(204).end();
      } catch (error) {
        log.warn('report of a replica not understood', { reason: (error as Error).message });
        response.writeHead(400).end();
      }
    });
  }
}
