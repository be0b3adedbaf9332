/**
 * Everything for one original destination: balancer, telemetry, what is known of its protocol. Made once per
 * destination, used by every connection and request to it.
 */
import type { Endpoint, Protocol, Target } from '../../protocol/discovery.ts';
import type { End, Ends } from '../access-log/entry.ts';
import { Balancer } from '../balance/balancer.ts';
import type { EndpointState } from '../balance/endpoint-state.ts';
import type { CarrierCallback, Connector } from '../carrier.ts';
import type { TargetUser } from '../discovery/target-cache.ts';
import { ProxyError } from '../error.ts';
import {
  type Exchange,
  type Http1Target,
  type Http2Target,
  type HttpObserver,
  isFailedAnswer,
  isFailure,
  latencyOf,
} from '../http/exchange.ts';
import { overloaded } from '../http/failures.ts';
import type { SessionUser } from '../http2/session-pool.ts';
import { TokenBucket } from '../http2/token-bucket.ts';
import type { SpliceCounters } from '../net/splice.ts';
import type { CallChain } from '../resilience/call-chain.ts';
import { hideAnswer, tellServer } from '../resilience/mesh-headers.ts';
import { retryAfterMs } from '../resilience/retry-after.ts';
import { type PolicyUser, TargetPolicy } from '../resilience/target-policy.ts';
import type { Series } from '../telemetry/series.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { ConnectionTrail } from '../trails/connection-trail.ts';
import type { Trails } from '../trails/trails.ts';
import type { SessionConnector } from '../tunnel/session-connector.ts';

const maxConnectAttempts = 3;
/**
 * Requests that an overloaded endpoint turned away and that go on to another: one for ten that are answered, one a second
 * and a few at once, so that a service that is overloaded as a whole gets no second load of them.
 */
const secondTries = { perAnswer: 0.1, rate: 1, burst: 10 };
/** Stands in `Exchange.state` between such a try and the next. */
const turnedAway = Symbol('turned away');

/** Series towards one endpoint; those of pods of one workload are the same. */
class EndpointSeries {
  readonly #make: (protocol: 'http' | 'tcp') => Series;
  #http: Series | undefined;
  #tcp: Series | undefined;

  constructor(make: (protocol: 'http' | 'tcp') => Series) {
    this.#make = make;
  }
  get http(): Series {
    this.#http ??= this.#make('http');
    return this.#http;
  }
  get tcp(): Series {
    this.#tcp ??= this.#make('tcp');
    return this.#tcp;
  }
}

type State = EndpointState<EndpointSeries>;

/** A connection made for opaque traffic, counted as pending at its endpoint until `done`. */
export type TcpCallback = (
  error: ProxyError | undefined,
  carrier: Parameters<CarrierCallback>[1],
  series: Series,
  done: () => void,
) => void;

/** Byte connections for HTTP/1 and opaque traffic, sessions for HTTP/2. */
export interface Connectors {
  connector: Connector;
  sessions: SessionConnector;
}

/** Who hears of requests and connections, and whose they are. */
export interface Told {
  telemetry: Telemetry;
  trails: Trails;
  /** The pod's own end of them, and what its two sides know of each other. */
  own: End;
  chain: CallChain;
}

export class TargetStack implements TargetUser, Http1Target, Http2Target, HttpObserver, PolicyUser {
  /** Connections of the application to this target now. */
  connections = 0;
  /** The server spoke before the client: it is opaque, and connected to at once. */
  serverFirst = false;
  /** A client spoke first, and HTTP: the next will too, and is given time to before an endpoint is chosen for it. */
  clientFirst = false;
  #target: Target;
  readonly #connector: Connector;
  readonly #sessions: SessionConnector;
  readonly #telemetry: Telemetry;
  readonly #trails: Trails;
  readonly #own: End;
  readonly #balancer: Balancer<EndpointSeries>;
  readonly #secondTries = new TokenBucket(secondTries.rate, secondTries.burst);
  readonly #chain: CallChain;
  #policy: TargetPolicy | undefined;
  /** Where no endpoint can be named. */
  #nowhere: EndpointSeries;

  constructor(target: Target, connectors: Connectors, told: Told) {
    this.#target = target;
    this.#chain = told.chain;
    this.#connector = connectors.connector;
    this.#sessions = connectors.sessions;
    this.#telemetry = told.telemetry;
    this.#trails = told.trails;
    this.#own = told.own;
    this.#nowhere = this.#series(undefined);
    this.#balancer = new Balancer({ attach: (endpoint) => this.#series(endpoint) });
    this.#balancer.update(this.#endpoints());
    this.#updatePolicy();
  }

  get busy(): boolean {
    return this.connections > 0;
  }

  get protocol(): Protocol {
    return this.#target.protocol;
  }

  get target(): Target {
    return this.#target;
  }

  get endpoints(): readonly EndpointState<unknown>[] {
    return this.#balancer.endpoints;
  }

  update(target: Target): void {
    const before = this.#target;
    this.#target = target;
    const renamed =
      before.service?.name !== target.service?.name ||
      before.service?.namespace !== target.service?.namespace ||
      before.kind !== target.kind;
    if (renamed) {
      this.#nowhere = this.#series(undefined);
      // The series of all endpoints change their name: no state of the old ones fits.
      this.#balancer.update([]);
    }
    if (before.protocol !== target.protocol) this.serverFirst = this.clientFirst = false;
    this.#balancer.update(this.#endpoints());
    this.#updatePolicy();
  }

  #updatePolicy(): void {
    const { policy } = this.#target;
    if (!policy) this.#policy = undefined;
    else if (this.#policy) this.#policy.update(policy);
    else this.#policy = new TargetPolicy(policy, this.#chain, this);
  }

  // === HTTP: an endpoint per request ===

  acquire(exchange: Exchange, callback: CarrierCallback): void {
    if (this.#isTooMany(exchange)) return callback(overloaded(undefined, 'no'), undefined);
    const endpoint = this.#pick(exchange);
    if (!endpoint) callback(this.#noEndpoints(), undefined);
    else this.#connector.connect(endpoint, false, callback);
  }

  acquireSession(exchange: Exchange, user: SessionUser): void {
    if (this.#isTooMany(exchange)) return user.onSession(overloaded(undefined, 'no'), undefined);
    const endpoint = this.#pick(exchange);
    if (!endpoint) user.onSession(this.#noEndpoints(), undefined);
    else this.#sessions.acquire(endpoint, user);
  }

  /** It was turned away, and there is nobody else to ask or too much asked already. */
  #isTooMany(exchange: Exchange): boolean {
    if (exchange.state !== turnedAway) return false;
    exchange.state = undefined;
    if (this.#balancer.size > 1 && this.#secondTries.take()) return false;
    exchange.attempts--; // it is no try
    return true;
  }

  #pick(exchange: Exchange): Endpoint | undefined {
    // The endpoint of the try before is avoided whatever ended it: its other idle connections may be as dead.
    const state = this.#balancer.pick(exchange.endpoint);
    exchange.state = state;
    if (!state) return undefined;
    state.pending++;
    exchange.endpoint = state.endpoint;
    if (this.#policy || exchange.request.fromMesh) tellServer(exchange, state.endpoint.identity !== undefined);
    return state.endpoint;
  }

  requestBegin(exchange: Exchange): void {
    if (this.#trails.active) this.#trails.begin(exchange);
    this.#policy?.begin(exchange);
  }

  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void {
    if (error) this.#failed(exchange.endpoint, error);
    const state = exchange.state as State | undefined;
    if (!state) return;
    if (!error) return this.#answered(exchange, state);
    state.pending--;
    exchange.state = undefined;
    if (error.code === 'overloaded') {
      this.#balancer.refused(state);
      exchange.state = turnedAway;
      return;
    }
    if (error.code === 'response-timeout' && this.#policy?.countsResponses) this.#countFailure(state);
    // A server that refuses one stream takes others.
    if (error.retry !== 'yes' || error.source === 'proxy' || error.code === 'stream-refused') return;
    state.data.http.connectFailed();
    this.#countFailure(state);
  }

  #answered(exchange: Exchange, state: State): void {
    // A later try's latency would hold the earlier ones' too.
    const latency = exchange.attempts === 1 ? exchange.firstByteAt - exchange.startedAt : undefined;
    const failed = isFailedAnswer(exchange);
    if (failed || exchange.status === 429) this.#heed(exchange, state);
    if (!this.#policy?.countsResponses || !(failed || isOpen(exchange))) this.#balancer.succeeded(state, latency);
    else if (failed) this.#countFailure(state);
    this.#secondTries.give(secondTries.perAnswer);
  }

  /** A call whose status came behind its head is over. */
  #judge(exchange: Exchange, state: State): void {
    if (!this.#policy?.countsResponses || !exchange.grpc || exchange.status !== 200) return;
    if (exchange.response?.value('grpc-status') !== undefined) return;
    if (isFailure(exchange)) this.#countFailure(state);
    else if (exchange.grpcStatus >= 0) this.#balancer.succeeded(state, undefined);
  }

  /** What a failed answer says besides. */
  #heed(exchange: Exchange, state: State): void {
    if (state.endpoint.identity) hideAnswer(exchange);
    // Unasked it may be meant for one of many users.
    const wait = this.#policy?.heedsRetryAfter ? retryAfterMs(exchange) : 0;
    if (wait > 0) this.#balancer.rest(state, wait);
  }

  #countFailure(state: State): void {
    if (this.#balancer.failed(state)) state.data.http.ejected();
  }

  onRetry(exchange: Exchange): void {
    const state = this.#stateIn(exchange);
    exchange.state = undefined;
    if (!state) return;
    this.#judge(exchange, state);
    state.pending--;
  }

  onBudgetExhausted(exchange: Exchange): void {
    (this.#stateOf(exchange.endpoint)?.data ?? this.#nowhere).http.budgetExhausted();
  }

  get size(): number {
    return this.#balancer.size;
  }

  requestEnd(exchange: Exchange): void {
    const state = this.#stateIn(exchange);
    // One that was never answered has been told of with its try.
    if (exchange.error && exchange.status > 0) this.#failed(exchange.endpoint, exchange.error);
    if (state) {
      this.#judge(exchange, state);
      state.pending--;
    }
    exchange.state = undefined;
    const series = (state ?? this.#stateOf(exchange.endpoint))?.data.http ?? this.#nowhere.http;
    series.exchange(exchange, isFailure(exchange), latencyOf(exchange));
    if (exchange.trail) this.#trails.end(exchange, exchange.trail, 'outbound', this.#ends(exchange.endpoint));
    if (exchange.attempts > 1) series.retries += exchange.attempts - 1;
  }

  // === Opaque: an endpoint per connection ===

  /** Connects to an endpoint, to another where that fails. `done` is to be called when the connection is over. */
  connect(callback: TcpCallback): void {
    this.#connect(1, undefined, callback);
  }

  #connect(attempt: number, avoid: Endpoint | undefined, callback: TcpCallback): void {
    const state = this.#balancer.pick(avoid);
    if (!state) {
      const error = this.#noEndpoints();
      this.#failed(undefined, error);
      callback(error, undefined, this.#nowhere.tcp, () => {});
      return;
    }
    state.pending++;
    this.#connector.connect(state.endpoint, true, (error, carrier) => {
      if (carrier) {
        this.#balancer.succeeded(state, undefined);
        callback(undefined, carrier, state.data.tcp, () => void state.pending--);
        return;
      }
      state.pending--;
      state.data.tcp.connectFailed();
      if (error) this.#failed(state.endpoint, error);
      if (error?.source !== 'proxy' && this.#balancer.failed(state)) state.data.tcp.ejected();
      if (attempt < maxConnectAttempts && this.#balancer.size > 1) {
        return this.#connect(attempt + 1, state.endpoint, callback);
      }
      callback(error, undefined, state.data.tcp, () => {});
    });
  }

  /** Follows a connection for the access log; undefined while that is off. */
  follow(endpoint: Endpoint | undefined, series: SpliceCounters): ConnectionTrail | undefined {
    return this.#trails.connection('outbound', this.#ends(endpoint), series);
  }

  // === Names ===

  /** Of the endpoint that has the exchange's try. */
  #stateIn({ state }: Exchange): State | undefined {
    return state === turnedAway ? undefined : (state as State | undefined);
  }

  #ends(endpoint: Endpoint | undefined): Ends {
    const { service } = this.#target;
    return {
      client: this.#own,
      clientAddress: null,
      server: { workload: endpoint?.workload ?? null, identity: endpoint?.identity ?? null },
      service: service ? `${service.namespace}/${service.name}` : null,
      endpoint: endpoint?.address ?? null,
    };
  }

  #endpoints(): readonly Endpoint[] {
    return this.#target.kind === 'unknown' ? [{ address: this.#target.address }] : this.#target.endpoints;
  }

  #stateOf(endpoint: Endpoint | undefined): State | undefined {
    return endpoint && this.#balancer.endpoints.find((state) => state.endpoint.address === endpoint.address);
  }

  /** A request of the application's that is not forwarded. */
  refused(code: string): void {
    this.#telemetry.errors.add('outbound', code, this.#target.address, 'a request of the application was refused');
  }

  #failed(endpoint: Endpoint | undefined, error: ProxyError): void {
    this.#telemetry.errors.failed('outbound', endpoint?.address ?? this.#target.address, error);
  }

  #noEndpoints(): ProxyError {
    const { service, address } = this.#target;
    const name = service ? `${service.namespace}/${service.name}:${service.port}` : address;
    return new ProxyError('no-endpoints', `${name} has no ready endpoint`, { source: 'control' });
  }

  #series(endpoint: Endpoint | undefined): EndpointSeries {
    const { service, kind, address } = this.#target;
    return new EndpointSeries((protocol) =>
      this.#telemetry.series({
        direction: 'outbound',
        peer: endpoint?.workload ?? null,
        service: service ? `${service.namespace}/${service.name}` : null,
        authority: kind === 'unknown' ? address : null,
        protocol,
        tls: endpoint?.identity ? 'mtls' : 'plain',
        peerIdentity: endpoint?.identity ?? null,
      }),
    );
  }
}

/** A call's head came, and its status is still to come. */
function isOpen({ grpc, status, grpcStatus }: Exchange): boolean {
  return grpc && status === 200 && grpcStatus < 0;
}
