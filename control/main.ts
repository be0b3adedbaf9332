/** The control plane: identity, discovery, injector, telemetry and the API, each with its own listener. */
import type { X509Certificate } from 'node:crypto';
import type { Server } from 'node:net';
import { hostname } from 'node:os';
import { createInClusterClient } from '../kube/in-cluster.ts';
import type { InboundPolicy } from '../protocol/discovery.ts';
import { formatSpiffeId } from '../protocol/identity.ts';
import { controlName } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { giveBackMemory } from '../proxy/process/give-back.ts';
import { createAdminServer } from './admin.ts';
import { createApiServer, proxyInfos } from './api/server.ts';
import { Cluster, workloadOf } from './cluster/index.ts';
import { readConfig } from './config.ts';
import { DiscoveryServer } from './discovery/server.ts';
import { Subscriptions } from './discovery/subscriptions.ts';
import { drain } from './drain.ts';
import { Authority } from './identity/authority.ts';
import { makeOwnCertificate } from './identity/own-certificate.ts';
import { IdentityServer } from './identity/server.ts';
import { TrustBundleKeeper } from './identity/trust-bundle.ts';
import { tellOfLonePods } from './inject/events.ts';
import { UnmeshedReporter, unmeshedPods } from './inject/unmeshed.ts';
import { keepCaBundle, Webhook } from './inject/webhook.ts';
import { createLog } from './log.ts';
import { controlMetrics } from './metrics.ts';
import { AnnotationReporter } from './policy/annotations.ts';
import { podPolicy } from './policy/inbound.ts';
import { followPolicies } from './policy/refresh.ts';
import { Collector, type Reporter } from './telemetry/collector.ts';
import { Peers } from './telemetry/peers.ts';
import { otherReplicas } from './telemetry/replicas.ts';
import { Troubles } from './troubles.ts';

const upkeepMs = 10_000;

function listen(server: Server, port: number, host?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = createLog(config.logLevel);
  const started = new Date();
  const waiting = new Set(['objects of the cluster', 'identity', 'webhook']);
  const troubles = new Troubles();
  const kube = createInClusterClient(process.env, (what, why) => {
    if (!troubles.set(what, why)) return;
    if (why === undefined) log.info('Kubernetes is followed again', { what });
    else log.warn('waiting for Kubernetes', { what, why });
  });
  const cluster = new Cluster(kube);
  const collector = new Collector();
  const subscriptions = new Subscriptions(cluster, config.trustDomain);
  // What is counted comes to be after the port on which it is asked for.
  const running: { authority?: Authority; identity?: IdentityServer; discovery?: DiscoveryServer; webhook?: Webhook } =
    {};
  const end = (certificate: X509Certificate | undefined) => certificate && new Date(certificate.validTo);
  const admin = createAdminServer({
    waitingFor: () => [...waiting],
    metrics: controlMetrics({
      proxies: () => running.discovery?.proxies.length ?? 0,
      targets: () => subscriptions.size,
      series: () => collector.size,
      telemetryBytes: () => collector.bytes,
      issued: () => running.identity?.issued ?? 0,
      refused: () => running.identity?.refused ?? 0,
      reviews: () => running.webhook?.results ?? new Map(),
      unmeshed: () => unmeshedPods(cluster).length,
      issuerEnd: () => end(running.authority?.issuer.certificate),
      rootEnd: () => end(running.authority?.roots[0]),
    }),
  });
  await listen(admin, config.ports.admin);
  log.info('control plane starting', { version, trustDomain: config.trustDomain });

  const authority = await Authority.open({
    kube,
    namespace: config.namespace,
    issuerLifetimeMs: config.issuerLifetime,
    certificateLifetimeMs: config.certificateLifetime,
    log,
  });
  let own = makeOwnCertificate(authority, config);
  waiting.delete('identity');
  await cluster.synced();
  waiting.delete('objects of the cluster');

  const identity = new IdentityServer(
    { kube, authority, trustDomain: config.trustDomain, lifetimeMs: config.certificateLifetime, log },
    own,
  );
  const policyFor = (namespace: string, name: string): InboundPolicy => podPolicy(cluster, namespace, name);
  const discovery = new DiscoveryServer({
    own,
    trustDomain: config.trustDomain,
    replica: hostname(),
    tracing: config.tracing,
    trustBundle: () => authority.trustBundle,
    subscriptions,
    serviceAccountOf: (namespace, name) => {
      const pod = cluster.pods.get(namespace, name);
      return pod && (pod.spec.serviceAccountName ?? 'default');
    },
    policyFor,
    onTelemetry: (proxy, report) => {
      const pod = cluster.pods.get(proxy.identity.namespace, proxy.pod);
      const { namespace } = proxy.identity;
      const workload = pod ? workloadOf(pod) : { namespace, kind: 'pod', name: proxy.pod };
      const reporter: Reporter = { namespace, pod: proxy.pod, workload };
      if (collector.add(reporter, report)) peers.tell({ reporter, report });
    },
    log,
  });
  const others = otherReplicas(cluster, config.namespace, hostname());
  const peers = new Peers({
    own,
    trustBundle: () => authority.trustBundle,
    identity: formatSpiffeId({ ...config, serviceAccount: controlName }),
    serverName: `${controlName}.${config.namespace}.svc`,
    others,
    port: config.ports.peer,
    onReport: ({ reporter, report }) => collector.add(reporter, report),
    proxies: () => proxyInfos(cluster, discovery.proxies),
    log,
    flushMs: 1_000,
  });
  const webhook = new Webhook({ config, kube, cluster, own, log });
  Object.assign(running, { authority, identity, discovery, webhook });
  const refreshIdentity = async (): Promise<void> => {
    const changed = await authority.refresh();
    if (!changed && Date.now() <= own.renewAt.getTime()) return;
    own = makeOwnCertificate(authority, config);
    for (const part of [identity, discovery, webhook, peers]) part.renew(own);
    discovery.refreshTrust();
    bundles.refresh();
  };
  const bundle = () => authority.trustBundle;
  const bundles = new TrustBundleKeeper(kube, cluster.namespaces, bundle, refreshIdentity, log);
  const api = createApiServer({
    cluster,
    collector,
    authority,
    trustDomain: config.trustDomain,
    webhook: () => own,
    proxies: () => discovery.proxies,
    peers,
    started,
    troubles: () => troubles.list(),
  });
  await Promise.all([
    listen(identity.server, config.ports.identity),
    listen(discovery.server, config.ports.discovery),
    listen(webhook.server, config.ports.injector),
    listen(peers.server, config.ports.peer),
    listen(api, config.ports.api, '127.0.0.1'),
    bundles.start(),
  ]);

  const unmeshed = new UnmeshedReporter(kube, cluster, log);
  tellOfLonePods(kube, cluster, log);
  const annotations = new AnnotationReporter(kube, cluster, log);
  const stopFollowing = followPolicies(cluster, (namespace, pod) => discovery.refreshPolicies(namespace, pod));

  /** One part of the upkeep; that it fails keeps no other part from its turn. */
  const attempt = async (part: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      troubles.set(`upkeep of ${part} fails`, undefined);
    } catch (error) {
      const reason = (error as Error).message;
      troubles.set(`upkeep of ${part} fails`, reason);
      log.warn('upkeep failed; it will be tried again', { part, reason });
    }
  };
  const round = async (): Promise<void> => {
    await attempt('identity', refreshIdentity);
    await attempt('webhook', async () => {
      if (await keepCaBundle(kube, authority.trustBundle)) waiting.delete('webhook');
    });
    await attempt('unmeshed pods', () => unmeshed.report());
    await attempt('annotations of services', () => annotations.report());
  };
  /** A slow API server must not have rounds run side by side. */
  let current: Promise<void> | undefined;
  const upkeep = (): Promise<void> => {
    current ??= round().finally(() => {
      current = undefined;
    });
    return current;
  };
  await upkeep();
  const first = setInterval(() => {
    if (waiting.has('webhook')) void upkeep();
    else clearInterval(first);
  }, 500);
  const timer = setInterval(() => void upkeep(), upkeepMs);
  log.info('control plane running');
  giveBackMemory(log);

  const stop = async (): Promise<void> => {
    log.info('control plane stopping');
    await drain({
      notReady: () => {
        waiting.add('shutdown');
        webhook.drain();
      },
      elsewhere: () => others().length > 0,
      close: async () => {
        clearInterval(timer);
        clearInterval(first);
        discovery.drain();
        bundles.stop();
        stopFollowing();
        subscriptions.stop();
        peers.stop();
        const servers = [discovery.server, peers.server, identity.server, webhook.server, api, admin];
        const closed = servers.map((server) => new Promise((resolve) => server.once('close', resolve)));
        for (const server of [identity.server, webhook.server, api, admin]) server.close();
        admin.closeAllConnections();
        await Promise.all(closed);
      },
    });
    kube.close();
    process.exit(0);
  };
  process.once('SIGTERM', () => void stop());
  process.once('SIGINT', () => void stop());
}

main().catch((error: Error) => {
  process.stderr.write(`mesh control plane: ${error.message}\n`);
  process.exit(1);
});
