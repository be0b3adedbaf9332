/** Outbound: accept → original destination → target → protocol → per request (HTTP/1, HTTP/2) or per connection (opaque). */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Address, parseAddress } from '../../protocol/discovery.ts';
import type { Carrier } from '../carrier.ts';
import type { TargetCache } from '../discovery/target-cache.ts';
import { type ConnectionSet, type Drainable, Place } from '../drain.ts';
import type { ProxyError } from '../error.ts';
import type { HttpOptions } from '../http/exchange.ts';
import { Http1Connection } from '../http/http1-connection.ts';
import { Http2Connection } from '../http/http2-connection.ts';
import type { Logger } from '../log.ts';
import { awaitProtocol } from '../net/detect.ts';
import { firstSpeaker } from '../net/first-speaker.ts';
import { noBytes, splice } from '../net/splice.ts';
import type { TimerWheel } from '../net/timer-wheel.ts';
import type { Series } from '../telemetry/series.ts';
import type { TargetStack } from './target-stack.ts';

/** How long a client may be silent before its server is connected to, in case that one speaks first. */
const graceMs = 30;
/** For the rest of a first line that has begun. */
const lineMs = 1_000;
/** For the first bytes where HTTP/2 is declared. */
const prefaceMs = 60_000;

/** A connection to an endpoint, made for one of the application's. */
interface Link {
  stack: TargetStack;
  carrier: Carrier;
  series: Series;
  /** To be called when it is over. */
  done: () => void;
}

export interface OutboundOptions {
  targets: TargetCache<TargetStack>;
  /** Where a redirected connection was meant to go; undefined where it was not redirected. */
  originalDestination(socket: Socket): Address | undefined;
  /** Whether an address is a listener of this proxy: a loop. */
  isOwn(address: Address): boolean;
  connections: ConnectionSet;
  timers: TimerWheel;
  log: Logger;
}

export class Outbound {
  readonly #options: OutboundOptions;

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  /** A connection of the application, paused. */
  accept(socket: Socket): void {
    const { originalDestination, isOwn, targets, log } = this.#options;
    socket.on('error', () => socket.destroy()); // whoever holds it hears of its close
    const destination = originalDestination(socket);
    if (!destination || !parseAddress(destination) || isOwn(destination)) {
      log.warn('outbound connection refused: it was not redirected here', { destination: destination ?? 'unknown' });
      socket.destroy();
      return;
    }
    targets.lookup(destination, (stack) => {
      if (socket.destroyed) return;
      stack.connections++;
      socket.once('close', () => void stack.connections--);
      this.#route(socket, stack);
    });
  }

  #route(socket: Socket, stack: TargetStack): void {
    if (stack.protocol === 'http1') return this.#http1(socket, undefined, stack);
    const declared = stack.protocol === 'http2';
    if ((stack.protocol !== 'detect' && !declared) || stack.serverFirst) return this.#opaque(socket, undefined, stack);
    // A declared HTTP/2 server does not speak first; its client may still speak TLS.
    const patienceMs = declared ? prefaceMs : stack.clientFirst ? lineMs : graceMs;
    this.#detect(socket, stack, patienceMs, () => this.#silent(socket, stack));
  }

  /** Whoever speaks first is the client; `silent` is called where it does not within its time. */
  #detect(socket: Socket, stack: TargetStack, patienceMs: number, silent: () => void): void {
    awaitProtocol(socket, patienceMs, (outcome, read) => {
      if (outcome === 'http1' || outcome === 'http2') stack.clientFirst = true;
      if (outcome === 'closed') socket.destroy();
      else if (outcome === 'http2') this.#http2(socket, read, stack);
      else if (stack.protocol === 'http2') this.#opaque(socket, read, stack);
      else if (outcome === 'http1') this.#http1(socket, read, stack);
      else if (outcome === 'silent') silent();
      else this.#opaque(socket, read, stack);
    });
    socket.resume();
  }

  #http1(socket: Socket, read: Buffer | undefined, stack: TargetStack): void {
    const place = new Place(this.#options.connections);
    place.take(new Http1Connection(socket, read, { ...this.#engine(place, stack), target: stack }));
  }

  #http2(socket: Socket, read: Buffer | undefined, stack: TargetStack): void {
    const place = new Place(this.#options.connections);
    place.take(new Http2Connection(socket, read, { ...this.#engine(place, stack), target: stack, toProxy: false }));
  }

  /** What either engine needs. */
  #engine(place: Place, stack: TargetStack): HttpOptions {
    const { timers, log } = this.#options;
    return {
      observer: stack,
      timers,
      errorHeader: true,
      onClose: () => place.leave(),
      onRefused: (code) => {
        stack.refused(code);
        log.warn('outbound request refused', { code, target: stack.target.address });
      },
    };
  }

  #opaque(socket: Socket, read: Buffer | undefined, stack: TargetStack): void {
    stack.connect((error, carrier, series, done) => {
      if (!carrier) return this.#unreachable(socket, stack, error);
      if (socket.destroyed) {
        done();
        carrier.destroy();
        return;
      }
      this.#splice(socket, carrier.detach(), read, { stack, carrier, series, done });
    });
  }

  /** Connects although the client has said nothing; who then speaks first decides. */
  #silent(socket: Socket, stack: TargetStack): void {
    stack.connect((error, carrier, series, done) => {
      if (!carrier) return this.#unreachable(socket, stack, error);
      if (socket.destroyed) {
        done();
        carrier.destroy();
        return;
      }
      const server = carrier.detach();
      const link: Link = { stack, carrier, series, done };
      firstSpeaker(socket, server, (speaker) => {
        // A client that is slow to send its request, and an endpoint that goes meanwhile: nothing of it is lost yet.
        if (speaker === 'ended' && stack.clientFirst && !socket.destroyed && !socket.readableEnded) {
          done();
          server.on('error', () => {}).destroy();
          return this.#detect(socket, stack, prefaceMs, () => socket.destroy());
        }
        if (speaker === 'server' || speaker === 'ended') {
          if (speaker === 'server') stack.serverFirst = true;
          return this.#splice(socket, server, undefined, link);
        }
        this.#decide(socket, server, link);
      });
    });
  }

  #decide(socket: Socket, server: Duplex, link: Link): void {
    const { stack, carrier, done } = link;
    server.on('error', () => carrier.destroy()); // while the client's first line is read
    awaitProtocol(socket, lineMs, (outcome, read) => {
      if (outcome !== 'http1' && outcome !== 'http2') return this.#splice(socket, server, read, link);
      stack.clientFirst = true;
      done();
      carrier.destroy();
      if (outcome === 'http1') this.#http1(socket, read, stack);
      else this.#http2(socket, read, stack);
    });
    socket.resume();
  }

  #splice(socket: Socket, server: Duplex, read: Buffer | undefined, { stack, carrier, series, done }: Link): void {
    const { connections } = this.#options;
    const trail = stack.follow(carrier.endpoint, series);
    const counters = trail ?? series;
    const member: Drainable = { drain: () => {}, destroy: () => socket.destroy() };
    connections.add(member);
    series.connectionOpened();
    if (read && read.length > 0) {
      counters.sentBytes += read.length;
      server.write(read);
    }
    splice(socket, server, counters, (cause) => {
      trail?.end(cause ? 'connection-lost' : null);
      series.connectionClosed();
      connections.delete(member);
      done();
    });
    if (socket.destroyed || server.destroyed) {
      socket.destroy();
      server.destroy();
    }
  }

  #unreachable(socket: Socket, stack: TargetStack, error: ProxyError | undefined): void {
    const { address } = stack.target;
    stack.follow(undefined, noBytes())?.end(error?.code ?? 'internal');
    this.#options.log.warn('outbound connection failed', { target: address, why: error?.message });
    // A reset, as the client would have got without the mesh: an orderly end could pass for an empty answer.
    socket.resetAndDestroy();
  }
}
