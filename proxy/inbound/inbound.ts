/** Inbound: plain TCP or an HBONE tunnel → application first → who speaks, and what → HTTP/1 or HTTP/2 engine, or splice. */

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ProxyState } from '../../protocol/diagnostics.ts';
import {
  type Address,
  type InboundPolicy,
  type Protocol,
  parseAddress,
  type Workload,
} from '../../protocol/discovery.ts';
import { parseSpiffeId, type SpiffeId } from '../../protocol/identity.ts';
import type { End, Ends } from '../access-log/entry.ts';
import { inPortRanges, type PortRange } from '../config.ts';
import { type ConnectionSet, type Drainable, Place } from '../drain.ts';
import type { ProxyError } from '../error.ts';
import type { HttpOptions } from '../http/exchange.ts';
import { resetFor } from '../http/failures.ts';
import { Http1Connection } from '../http/http1-connection.ts';
import { Http2Connection } from '../http/http2-connection.ts';
import { errorCode } from '../http2/frames.ts';
import { Http2Stream } from '../http2/stream.ts';
import type { Logger } from '../log.ts';
import { awaitProtocol } from '../net/detect.ts';
import { firstSpeaker } from '../net/first-speaker.ts';
import { noBytes, splice } from '../net/splice.ts';
import type { TimerWheel } from '../net/timer-wheel.ts';
import type { CallChain } from '../resilience/call-chain.ts';
import type { Series } from '../telemetry/series.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { Trails } from '../trails/trails.ts';
import { dialTcp } from '../tunnel/connector.ts';
import type { TunnelRequest } from '../tunnel/hbone-server.ts';
import { Application, applicationTimeoutMs } from './application.ts';
import { parseBaggage } from './baggage.ts';
import type { Gate } from './gate.ts';
import { Gates } from './gates.ts';
import { Http2Application } from './http2-application.ts';
import { InboundObserver } from './inbound-observer.ts';
import { Probes } from './probes.ts';

const lineMs = 1_000;
/** Ports of which is remembered what was spoken to them. */
const maxPorts = 64;
/** Connections of meshed peers at once; each is one to the application, to which there are some 28,000 local ports. */
const maxConnections = 20_000;

export interface InboundOptions {
  opaquePorts: readonly PortRange[];
  originalDestination(socket: Socket): Address | undefined;
  isOwn(address: Address): boolean;
  /** Whether load shedding is asked for. */
  shedding: boolean;
  telemetry: Telemetry;
  trails: Trails;
  /** This pod. */
  own: End;
  chain: CallChain;
  connections: ConnectionSet;
  timers: TimerWheel;
  log: Logger;
}

/** One client's way in: what it may see, and what it counts for. */
interface Client {
  stream: Duplex;
  destination: Address;
  identity: SpiffeId | null;
  workload: Workload | null;
}

export class Inbound {
  #policy: InboundPolicy = { ports: {} };
  #probes = new Probes([]);
  readonly gates: Gates;
  readonly #options: InboundOptions;
  /** What clients have spoken, and when last (epoch milliseconds), by port; the latest stands last. */
  readonly #spoken = new Map<number, { protocol: Protocol; at: number }>();

  constructor(options: InboundOptions) {
    this.#options = options;
    this.gates = new Gates(options.timers, options.shedding);
  }

  /** Declared protocols and probes, as the control plane tells them. */
  set policy(policy: InboundPolicy) {
    this.#policy = policy;
    this.#probes = new Probes(policy.probes ?? []);
  }

  /** A connection of a peer without a proxy, paused. */
  accept(socket: Socket): void {
    const { originalDestination, isOwn, log } = this.#options;
    socket.on('error', () => socket.destroy()); // whoever holds it hears of its close
    const destination = originalDestination(socket);
    if (!destination || isOwn(destination)) {
      log.warn('inbound connection refused: it was not redirected here', { destination: destination ?? 'unknown' });
      socket.destroy();
      return;
    }
    const client: Client = { stream: socket, destination, identity: null, workload: null };
    dialTcp(destination, applicationTimeoutMs, (error, application) => {
      if (application) return this.#serve(client, application);
      this.#unreachable(client, error);
      // As it would be without the mesh: nobody listens there.
      socket.resetAndDestroy();
    });
  }

  /** A connection of a meshed peer. */
  tunnel(request: TunnelRequest): void {
    const { destination, peer, baggage } = request;
    const { isOwn, connections, log } = this.#options;
    if (isOwn(destination)) return request.refuse(400);
    if (connections.size >= maxConnections) {
      log.error('too many connections: one was refused', { side: 'inbound' });
      return request.refuse(503);
    }
    const named = parseBaggage(baggage);
    // A peer may only name a workload of the namespace its identity proves.
    const workload = named && named.namespace === parseSpiffeId(peer)?.namespace ? named : null;
    dialTcp(destination, applicationTimeoutMs, (error, application) => {
      if (!application) {
        this.#unreachable({ stream: undefined, destination, identity: peer, workload }, error);
        return request.refuse(503);
      }
      const stream = request.accept();
      if (stream.destroyed) return void application.destroy();
      this.#serve({ stream, destination, identity: peer, workload }, application);
    });
  }

  #serve(client: Client, application: Socket): void {
    const { stream, destination } = client;
    const protocol = this.#protocol(destination);
    if (protocol === 'http1') return this.#http1(client, undefined, application);
    if (protocol === 'opaque') return this.#splice(client, undefined, application);
    firstSpeaker(stream, application, (speaker) => {
      if (speaker === 'ended') return this.#splice(client, undefined, application, true);
      if (speaker === 'server') return this.#splice(client, undefined, application);
      const ignore = () => {}; // its close is found below
      application.on('error', ignore);
      awaitProtocol(stream, lineMs, (outcome, read) => {
        application.removeListener('error', ignore);
        if (outcome === 'http1' && protocol === 'detect') this.#http1(client, read, application);
        else if (outcome === 'http2') this.#http2(client, read, application);
        else this.#splice(client, read, application, !read && (outcome === 'ended' || outcome === 'closed'));
      });
      stream.resume();
    });
  }

  #protocol(destination: Address): Protocol {
    return this.#declared(parseAddress(destination)!.port);
  }

  #declared(port: number): Protocol {
    if (inPortRanges(this.#options.opaquePorts, port)) return 'opaque';
    return this.#policy.ports[String(port)] ?? 'detect';
  }

  /** Ports with what was spoken to them, the latest first. */
  get ports(): ProxyState['inbound_ports'] {
    return [...this.#spoken].reverse().map(([port, { protocol, at }]) => {
      const declared = this.#declared(port) !== 'detect';
      const gate = protocol === 'opaque' ? undefined : this.gates.of(port);
      const limit = gate?.shedder?.limit ?? Number.POSITIVE_INFINITY;
      return {
        ...{ port, protocol, declared, seen: new Date(at).toISOString(), in_flight: gate?.inFlight ?? 0 },
        limit: Number.isFinite(limit) ? Math.floor(limit) : null,
      };
    });
  }

  #spoke(destination: Address, protocol: Protocol): void {
    const { port } = parseAddress(destination)!;
    this.#spoken.delete(port);
    this.#spoken.set(port, { protocol, at: Date.now() });
    if (this.#spoken.size > maxPorts) this.#spoken.delete(this.#spoken.keys().next().value!);
  }

  #http1(client: Client, read: Buffer | undefined, application: Socket): void {
    const { stream, destination, identity } = client;
    this.#spoke(destination, 'http1');
    const place = new Place(this.#options.connections);
    const first = application.destroyed || application.readableEnded ? undefined : application;
    const gate = this.gates.of(parseAddress(destination)!.port);
    const target = new Application(destination, gate, first, () => place.drain());
    const connection = new Http1Connection(stream, read, {
      ...this.#engine(client, place, target, gate),
      target,
      // The peer's proxy may try another endpoint; REFUSED_STREAM tells it that the application saw nothing.
      ...(identity ? { onServerLost: (error: ProxyError) => breakOff(stream, error) } : { serverAlone: true }),
    });
    place.take(connection);
    if (stream.destroyed) connection.destroy();
  }

  #http2(client: Client, read: Buffer | undefined, application: Socket): void {
    const { stream, destination, identity } = client;
    this.#spoke(destination, 'http2');
    const place = new Place(this.#options.connections);
    // So that its client looks for another server, as it would without the mesh.
    const gate = this.gates.of(parseAddress(destination)!.port);
    const target = new Http2Application(destination, gate, application, this.#options.timers, () => place.drain());
    const options = { ...this.#engine(client, place, target, gate), target, toProxy: identity !== null };
    place.take(new Http2Connection(stream, read, options));
  }

  /** What either engine needs; counts the connection until it closes, and with it `target`. */
  #engine(client: Client, place: Place, target: { close(): void }, gate: Gate): HttpOptions {
    const { timers, log, telemetry, trails, chain } = this.#options;
    const { destination, identity } = client;
    const series = this.#series(client, 'http');
    const observer = new InboundObserver({
      series,
      gate,
      ends: this.#ends(client),
      // They come from the node, which has no identity.
      probes: identity ? undefined : this.#probes.of(parseAddress(destination)!.port),
      trails,
      chain,
      errors: telemetry.errors,
    });
    return {
      observer,
      timers,
      errorHeader: identity !== null,
      onClose: () => {
        observer.close();
        target.close();
        place.leave();
      },
      onRefused: (code) => {
        telemetry.errors.add('inbound', code, identity ?? 'plain', `a request to ${destination} was refused`);
        log.warn('inbound request refused', { code, destination, peer: identity ?? 'plain' });
      },
    };
  }

  /**
   * `silent`: its client has ended before a byte came, as health probes do, and peers that have looked who speaks first;
   * it counts only if bytes follow all the same.
   */
  #splice(client: Client, read: Buffer | undefined, application: Socket, silent = false): void {
    const { connections } = this.#options;
    const { stream } = client;
    const series = this.#series(client, 'tcp');
    const counted = silent ? noBytes() : series;
    const trail = this.#options.trails.connection('inbound', this.#ends(client), counted);
    const counters = trail ?? counted;
    const member: Drainable = { drain: () => {}, destroy: () => stream.destroy() };
    connections.add(member);
    if (!silent) this.#spoke(client.destination, 'opaque');
    if (!silent) series.connectionOpened();
    if (read && read.length > 0) {
      counters.sentBytes += read.length;
      application.write(read);
    }
    splice(stream, application, counters, (cause) => {
      connections.delete(member);
      if (silent && counters.sentBytes + counters.receivedBytes === 0) return;
      trail?.end(cause ? 'connection-lost' : null);
      if (silent) {
        series.connectionOpened();
        series.sentBytes += counters.sentBytes;
        series.receivedBytes += counters.receivedBytes;
      }
      series.connectionClosed();
    });
    if (stream.destroyed || application.destroyed) {
      stream.destroy();
      application.destroy();
    }
  }

  #unreachable(client: Omit<Client, 'stream'> & { stream: Duplex | undefined }, error: ProxyError | undefined): void {
    this.#series(client, 'tcp').connectFailed();
    const trail = this.#options.trails.connection('inbound', this.#ends(client), noBytes());
    trail?.end(error?.code ?? 'internal');
    if (error) this.#options.telemetry.errors.failed('inbound', client.destination, error);
    this.#options.log.warn('the application does not answer', { destination: client.destination, why: error?.message });
  }

  #ends({ stream, workload, identity, destination }: Omit<Client, 'stream'> & { stream: Duplex | undefined }): Ends {
    return {
      client: { workload, identity },
      clientAddress: stream instanceof Socket ? (stream.remoteAddress ?? null) : null,
      ...{ server: this.#options.own, service: null, endpoint: destination },
    };
  }

  #series(client: Pick<Client, 'identity' | 'workload'>, protocol: 'http' | 'tcp'): Series {
    return this.#options.telemetry.series({
      direction: 'inbound',
      peer: client.workload,
      service: null,
      authority: null,
      protocol,
      tls: client.identity ? 'mtls' : 'plain',
      peerIdentity: client.identity,
    });
  }
}

function breakOff(stream: Duplex, error: ProxyError): void {
  if (stream instanceof Http2Stream) stream.reset(resetFor(error, errorCode.internalError));
  else stream.destroy();
}
