/** Puts the proxy's parts together; main.ts gives it settings and signals, tests give it sockets. */
import type { Server, Socket } from 'node:net';
import type { ProxyState } from '../protocol/diagnostics.ts';
import { type Address, type ControlMessage, parseAddress, type Workload } from '../protocol/discovery.ts';
import { formatSpiffeId } from '../protocol/identity.ts';
import { version } from '../protocol/version.ts';
import type { AccessLogFormat } from './access-log/format.ts';
import { LineWriter } from './access-log/line-writer.ts';
import type { ProxyConfig } from './config.ts';
import { certificateState, maxPeers, maxTargets, memoryState, targetState, trustRoots } from './diagnostics.ts';
import { DiscoveryClient } from './discovery/client.ts';
import { TargetCache } from './discovery/target-cache.ts';
import { ConnectionSet } from './drain.ts';
import { formatBaggage } from './inbound/baggage.ts';
import { Inbound } from './inbound/inbound.ts';
import type { Logger, LogLevel } from './log.ts';
import { listenBoth, portOf } from './net/listener.ts';
import { TimerWheel } from './net/timer-wheel.ts';
import { Outbound } from './outbound/outbound.ts';
import { TargetStack } from './outbound/target-stack.ts';
import { CallChain } from './resilience/call-chain.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { Temporary } from './temporary.ts';
import type { Credentials } from './tls/credentials.ts';
import { IdentityClient } from './tls/identity-client.ts';
import { Tracer } from './tracing/tracer.ts';
import { Trails } from './trails/trails.ts';
import { PoolingConnector } from './tunnel/connector.ts';
import { HboneClient } from './tunnel/hbone-client.ts';
import { HboneServer } from './tunnel/hbone-server.ts';
import { SessionConnector } from './tunnel/session-connector.ts';

const connectTimeoutMs = 3_000;
const sweepMs = 60_000;
/** For the end of the access log, whoever reads it. */
const lastLinesMs = 500;

export interface PodProxyOptions {
  config: ProxyConfig;
  credentials: Credentials;
  log: Logger;
  originalDestination(socket: Socket): Address | undefined;
  /** The bundle of tracing/export-thread.ts. */
  traceProgram: URL;
  /** Descriptor of the access log; stdout but in tests. */
  accessLogFd?: number;
  /** Port that peers' HBONE listeners have; another than this proxy's own in tests only. */
  peerHbonePort?: number;
}

export class PodProxy {
  readonly telemetry = new Telemetry();
  readonly targets: TargetCache<TargetStack>;
  readonly inbound: Inbound;
  readonly logLevel: Temporary<LogLevel>;
  readonly accessLog: Temporary<AccessLogFormat>;
  readonly #options: PodProxyOptions;
  readonly #outbound: Outbound;
  readonly #discovery: DiscoveryClient;
  readonly #identity: IdentityClient;
  readonly #connector: PoolingConnector;
  readonly #sessions: SessionConnector;
  readonly #hboneClient: HboneClient;
  readonly #timers = new TimerWheel();
  readonly #lines: LineWriter;
  readonly #tracer: Tracer;
  readonly #inboundConnections = new ConnectionSet();
  readonly #outboundConnections = new ConnectionSet();
  readonly #intervals: NodeJS.Timeout[] = [];
  #outboundServers: Server[] = [];
  #inboundServers: Server[] = [];
  #hboneServer: HboneServer | undefined;
  #hboneListening = false;
  #draining = false;

  constructor(options: PodProxyOptions) {
    this.#options = options;
    const { config, credentials, log, originalDestination } = options;
    this.logLevel = new Temporary(config.logLevel, (level) => log.setLevel(level));
    const { trustDomain, controlIdentity, namespace } = config;
    const identity = formatSpiffeId({ trustDomain, namespace, serviceAccount: config.serviceAccount });
    const [kind = 'pod', name = config.pod] = config.workload.split('/');
    const workload: Workload = { namespace, kind, name };
    const own = { workload, identity };
    this.#lines = new LineWriter(options.accessLogFd ?? 1, (lines) => {
      this.telemetry.accessLogDropped += lines;
    });
    const trails = new Trails({ writer: this.#lines });
    trails.format = config.accessLog;
    this.accessLog = new Temporary(config.accessLog, (format) => {
      trails.format = format;
    });
    this.#tracer = new Tracer({
      ...{ trails, log, telemetry: this.telemetry, program: options.traceProgram },
      source: { version, pod: config.pod, namespace, node: config.node, workload: config.workload },
    });
    const control = { host: config.controlHost, credentials, trustDomain, controlIdentity, log };
    this.#identity = new IdentityClient({
      ...control,
      port: config.identityPort,
      identity,
      tokenFile: config.tokenFile,
    });
    this.#discovery = new DiscoveryClient({
      ...control,
      port: config.discoveryPort,
      hello: { type: 'hello', version, pod: config.pod, namespace, workload: config.workload },
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#onMessage(message),
      onClose: () => this.targets.onClose(),
    });
    this.#hboneClient = new HboneClient({
      credentials,
      trustDomain,
      connectTimeoutMs,
      baggage: formatBaggage(workload),
      port: options.peerHbonePort ?? config.hbonePort,
      onRefused: (reason, detail, address) => {
        this.telemetry.refusedTls('outbound', reason, address, detail);
        log.warn('server refused', { reason, detail, peer: address });
      },
    });
    const connectorOptions = { hbone: this.#hboneClient, timers: this.#timers, connectTimeoutMs };
    this.#connector = new PoolingConnector(connectorOptions);
    this.#sessions = new SessionConnector(connectorOptions);
    const chain = new CallChain();
    const connectors = { connector: this.#connector, sessions: this.#sessions };
    this.targets = new TargetCache<TargetStack>({
      make: (target) => new TargetStack(target, connectors, { telemetry: this.telemetry, trails, own, chain }),
      send: (message) => this.#discovery.send(message),
      connected: () => this.#discovery.connected,
      onFallback: (address) => {
        this.telemetry.discoveryFallbacks++;
        log.warn('the control plane has not told about a target; dialled as it is', { target: address });
      },
    });
    const isOwn = (address: Address) => this.#isOwn(address);
    const shared = { originalDestination, isOwn, timers: this.#timers, log };
    this.#outbound = new Outbound({ ...shared, targets: this.targets, connections: this.#outboundConnections });
    this.inbound = new Inbound({
      ...shared,
      opaquePorts: config.opaquePorts,
      shedding: config.loadShedding,
      telemetry: this.telemetry,
      trails,
      own,
      chain,
      connections: this.#inboundConnections,
    });
  }

  /** Resolves when plain traffic is served; tunnels follow with the first certificate. */
  async start(): Promise<void> {
    const { config, credentials, log } = this.#options;
    const dropped = (side: string) => () => log.error('too many connections: one was refused', { side });
    this.#outboundServers = await listenBoth(
      { ipv4: '127.0.0.1', ipv6: '::1' },
      config.outboundPort,
      (socket) => this.#outbound.accept(socket),
      dropped('outbound'),
    );
    this.#inboundServers = await listenBoth(
      { ipv4: '0.0.0.0', ipv6: '::' },
      config.inboundPort,
      (socket) => this.inbound.accept(socket),
      dropped('inbound'),
    );
    if (credentials.certified) await this.#listenHbone();
    else credentials.onChange(() => void this.#listenHbone());
    this.#identity.start();
    this.#discovery.start();
    // The stream lives longer than the certificate it was opened with.
    credentials.onChange(() => {
      const not_after = credentials.certified!.notAfter.toISOString();
      this.#discovery.send({ type: 'certificate', not_after });
    });
    this.#intervals.push(
      setInterval(() => this.#report(), config.telemetryIntervalMs),
      setInterval(() => this.targets.sweep(), sweepMs),
    );
  }

  /** Why it is not ready; undefined when it is. */
  notReady(): string | undefined {
    if (this.#draining) return 'draining';
    if (!this.#options.credentials.certified) return 'no certificate yet';
    return this.#hboneListening ? undefined : 'not listening for tunnels yet';
  }

  get ports(): { outbound: number; inbound: number; hbone: number } {
    return {
      outbound: portOf(this.#outboundServers[0]!),
      inbound: portOf(this.#inboundServers[0]!),
      hbone: this.#hboneServer?.port ?? 0,
    };
  }

  /** For `mesh diagnostics`. */
  state(): ProxyState {
    const { config, credentials } = this.#options;
    return {
      time: new Date().toISOString(),
      version,
      pod: config.pod,
      namespace: config.namespace,
      workload: config.workload,
      started: this.telemetry.started.toISOString(),
      not_ready: this.notReady() ?? null,
      log_level: this.logLevel.state,
      access_log: this.accessLog.state,
      access_log_dropped: this.telemetry.accessLogDropped,
      tracing: this.#tracer.state,
      certificate: certificateState(credentials),
      certificate_error: this.#identity.error ?? null,
      trust_roots: trustRoots(credentials),
      control_plane: this.#discovery.state,
      connections: { outbound: this.#outboundConnections.size, inbound: this.#inboundConnections.size },
      tunnels: {
        outbound: this.#hboneClient.state(maxPeers),
        outbound_peers: this.#hboneClient.peers,
        inbound: this.#hboneServer?.state ?? { connections: 0, streams: 0 },
      },
      targets: this.targets.latest(maxTargets).map(targetState),
      targets_count: this.targets.size,
      inbound_ports: this.inbound.ports,
      errors: this.telemetry.errors.list(),
      memory: memoryState(),
    };
  }

  /** Takes no new inbound connections, lets what is in flight finish, then ends; resolves when all is over. */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    this.#hboneServer?.drain();
    for (const server of this.#inboundServers) server.close();
    const { gracePeriodMs } = this.#options.config;
    await Promise.all([this.#inboundConnections.drain(gracePeriodMs), this.#outboundConnections.drain(gracePeriodMs)]);
    this.#report();
    await Promise.all([this.#lines.end(lastLinesMs), this.#tracer.close()]);
    this.close();
  }

  close(): void {
    for (const timer of this.#intervals) clearInterval(timer);
    for (const server of [...this.#inboundServers, ...this.#outboundServers]) server.close();
    this.#hboneServer?.destroy();
    void this.#tracer.close();
    this.#identity.stop();
    this.#discovery.stop();
    this.#connector.close();
    this.#sessions.close();
    this.#hboneClient.close();
    this.#timers.stop();
  }

  async #listenHbone(): Promise<void> {
    if (this.#hboneServer) return;
    const { config, credentials, log } = this.#options;
    const server = new HboneServer({
      credentials,
      trustDomain: config.trustDomain,
      podIps: config.podIps,
      onTunnel: (request) => this.inbound.tunnel(request),
      onRefused: (reason, detail, address) => {
        this.telemetry.refusedTls('inbound', reason, address, detail);
        log.warn('client refused', { reason, detail, peer: address });
      },
    });
    this.#hboneServer = server;
    try {
      await server.listen(config.hbonePort, '::');
    } catch (error) {
      // No IPv6 on this machine.
      if (!['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await server.listen(config.hbonePort, '0.0.0.0');
    }
    this.#hboneListening = true;
    log.info('ready', { ...this.ports });
  }

  #isOwn(address: Address): boolean {
    const { config } = this.#options;
    const parsed = parseAddress(address);
    if (!parsed) return true;
    const { ip, port } = parsed;
    const here = config.podIps.includes(ip) || ip.startsWith('127.') || ip === '::1';
    return here && [config.outboundPort, config.inboundPort, config.hbonePort].includes(port);
  }

  #onOpen(): void {
    this.targets.onOpen();
    for (const report of this.telemetry.unacknowledged) this.#discovery.send({ type: 'telemetry', report });
  }

  #onMessage(message: Exclude<ControlMessage, { type: 'hello' }>): void {
    const { log, credentials } = this.#options;
    if (message.type === 'target') this.targets.onTarget(message.target);
    else if (message.type === 'policy') this.inbound.policy = message.policy;
    else if (message.type === 'trust-bundle') credentials.setTrustBundle(message.pem);
    else if (message.type === 'tracing') this.#tracer.configure(message.tracing);
    else if (message.type === 'telemetry-ack') this.telemetry.acknowledged(message.sequence);
    // A newer control plane may say more than this proxy knows.
    else log.debug('message of an unknown type', { type: String((message as { type?: unknown }).type) });
  }

  #report(): void {
    this.#discovery.send({ type: 'telemetry', report: this.telemetry.report() });
  }
}
