/**
 * Replicas of the control plane tell each other what their proxies report, so that any of them answers `stat` for the
 * whole mesh. Mutual TLS: only the control plane's own identity may tell. A replica that is away misses what was said
 * meanwhile, but for the last few thousand reports.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import type { Log } from '../log.ts';
import type { Reporter } from './collector.ts';

const timeoutMs = 5_000;
const maxQueued = 2_000;
const maxBodyBytes = 32 << 20;

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
  /** Addresses of the other replicas, now. */
  addresses: () => string[];
  port: number;
  onReport: (told: Told) => void;
  log: Log;
  /** How often reports are passed on, milliseconds. */
  flushMs: number;
}

interface Peer {
  queue: Told[];
  busy: boolean;
  failing: boolean;
}

export class Peers {
  readonly server: https.Server;
  readonly #options: PeersOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #timer: NodeJS.Timeout;
  #own: OwnCertificate;
  #agent: https.Agent;

  constructor(options: PeersOptions) {
    this.#options = options;
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
    const addresses = new Set(this.#options.addresses());
    for (const address of this.#peers.keys()) if (!addresses.has(address)) this.#peers.delete(address);
    for (const address of addresses) {
      const peer = this.#peers.get(address) ?? { queue: [], busy: false, failing: false };
      this.#peers.set(address, peer);
      peer.queue.push(told);
      if (peer.queue.length > maxQueued) peer.queue.shift();
    }
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

  #flush(): void {
    for (const [address, peer] of this.#peers) {
      if (peer.busy || peer.queue.length === 0) continue;
      peer.busy = true;
      const batch = peer.queue;
      peer.queue = [];
      this.#send(address, batch)
        .then(
          () => {
            peer.failing = false;
          },
          (error: Error) => {
            peer.queue = [...batch, ...peer.queue].slice(-maxQueued);
            const say = peer.failing ? 'debug' : 'warn';
            peer.failing = true;
            this.#options.log[say]('another replica was not told; it will be tried again', {
              address,
              reason: error.message,
            });
          },
        )
        .finally(() => {
          peer.busy = false;
        });
    }
  }

  #send(address: string, batch: Told[]): Promise<void> {
    const body = JSON.stringify(batch);
    const { key, cert } = this.#own;
    const { port, serverName, trustBundle } = this.#options;
    return new Promise((resolve, reject) => {
      const request = https.request({
        agent: this.#agent,
        host: address,
        port,
        method: 'POST',
        path: '/v1/reports',
        key,
        cert,
        ca: trustBundle(),
        servername: serverName,
        minVersion: 'TLSv1.3',
        timeout: timeoutMs,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      });
      request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
      request.on('error', reject);
      request.on('response', (response) => {
        response.resume();
        if (response.statusCode === 204) resolve();
        else reject(new Error(`answered with status ${response.statusCode}`));
      });
      request.end(body);
    });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { identity, onReport, log } = this.#options;
    const shown = (request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? '';
    if (!shown.split(', ').includes(`URI:${identity}`)) {
      log.warn('report of no replica refused', { shown, from: request.socket.remoteAddress });
      response.writeHead(403).end();
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('error', (error) => log.debug('report of a replica cut off', { reason: error.message }));
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBodyBytes) request.destroy();
      else chunks.push(chunk);
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
