/** A cluster for tests of the command line: the local mesh's API server in this process, and a control plane that answers what a test says. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { NodeStats } from '../kube/node-stats.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { ApiServer } from '../local/api/server.ts';
import type { Objects } from '../local/objects.ts';
import {
  cniName,
  controlName,
  controlNamespace,
  defaultTrustDomain,
  proxyContainer,
  webhookName,
} from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { type CniOptions, renderInstall } from '../templates/index.ts';
import type { Context } from './context.ts';

/** What the control plane answers to a path without its query. */
type Answer = { status: number; body: unknown } | 'hang' | 'refuse';

export class TestCluster {
  readonly home = mkdtempSync(join(tmpdir(), 'mesh-cli-'));
  readonly control = new Map<string, Answer>();
  /** What was asked for with PUT. */
  readonly changes: string[] = [];
  /** Pods that take no connection. */
  readonly away = new Set<string>();
  /** Log of `pod/container`. */
  readonly logs = new Map<string, string>();
  /** What the kubelet says. */
  stats: NodeStats = { pods: [] };
  readonly #api: ApiServer;
  readonly #control: http.Server;

  private constructor(api: ApiServer, control: http.Server) {
    this.#api = api;
    this.#control = control;
  }

  static async start(): Promise<TestCluster> {
    const api = new ApiServer({
      stateFile: ':memory:',
      servicePrefix: '10.96',
      fixedServices: { 'default/kubernetes': '10.96.0.1' },
      names: { dns: ['localhost'], ips: ['127.0.0.1'] },
      log: () => {},
    });
    await api.bootstrap();
    const control = http.createServer((request, response) => {
      const path = (request.url ?? '').split('?', 1)[0]!;
      const answer = cluster.control.get(path);
      if (request.method === 'PUT') cluster.changes.push(request.url!);
      if (answer === 'hang') return;
      const { status, body } = answer && answer !== 'refuse' ? answer : { status: 404, body: {} };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve));
    const cluster = new TestCluster(api, control);
    api.setRuntime({
      logs: (_namespace, pod, { container, tailLines }) => {
        const lines = (cluster.logs.get(`${pod}/${container}`) ?? '').split('\n').slice(0, -1);
        const shown = tailLines === undefined ? lines : lines.slice(-tailLines);
        return Readable.from(shown.map((line) => Buffer.from(`${line}\n`)));
      },
      exec: () => Promise.reject(new Error('not here')),
      connect: async (_, pod) => {
        if (cluster.away.has(pod)) throw new Error('connection refused');
        if ([...cluster.control.values()].includes('refuse')) throw new Error('connection refused');
        return connect((control.address() as AddressInfo).port, '127.0.0.1');
      },
      stats: () => cluster.stats,
    });
    const { port } = await api.listen({ host: '127.0.0.1', port: 0 });
    writeFileSync(cluster.kubeconfig, JSON.stringify(kubeconfig(port, api.root, api.adminToken)));
    writeFileSync(cluster.strangers, JSON.stringify(kubeconfig(port, api.root, 'nobody')));
    return cluster;
  }

  get kubeconfig(): string {
    return join(this.home, 'config');
  }

  /** A kubeconfig whose credentials the cluster does not accept. */
  get strangers(): string {
    return join(this.home, 'strangers');
  }

  get objects(): Objects {
    return this.#api.objects;
  }

  async close(): Promise<void> {
    this.#control.closeAllConnections();
    this.#control.close();
    await this.#api.close();
    rmSync(this.home, { recursive: true, force: true });
  }

  create(...objects: KubeObject[]): Promise<unknown> {
    return objects.reduce<Promise<unknown>>(async (before, object) => {
      await before;
      const type = Object.values(resources).find((one) => one.kind === object.kind)!;
      await this.objects.create(type, object);
      const { name, namespace } = object.metadata;
      if (object.status) await this.objects.updateStatus(type, name!, namespace, () => object.status);
    }, Promise.resolve());
  }

  /** Does what controllers do for an install and an uninstall: rolls the control plane out, removes namespaces. */
  runControllers(): void {
    this.objects.watch(resources.deployments, ({ type, object }) => {
      const { metadata, status } = object;
      if (type === 'DELETED' || metadata.name !== controlName || status?.observedGeneration === metadata.generation)
        return;
      queueMicrotask(() => void this.rolledOut());
    });
    this.objects.watch(resources.daemonSets, ({ type, object: { metadata, status } }) => {
      if (type === 'DELETED' || status?.observedGeneration === metadata.generation) return;
      queueMicrotask(() => void this.onEveryNode());
    });
    this.objects.watch(resources.namespaces, ({ type, object }) => {
      if (type === 'DELETED' || !object.metadata.deletionTimestamp) return;
      queueMicrotask(() => void this.objects.remove(resources.namespaces, object.metadata.name!));
    });
  }

  /** Everything an install makes, as it is when all is well. */
  async install(cni?: CniOptions): Promise<void> {
    const objects = renderInstall({
      ...{ image: `mesh.dev/mesh:${version}`, version, namespace: controlNamespace },
      ...{ trustDomain: defaultTrustDomain, ha: false, imagePullSecrets: [], controlEnv: {} },
      ...(cni ? { cni } : {}),
    });
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'mesh-identity', namespace: controlNamespace },
    };
    await this.create(...objects, secret, controlPod(true));
    await this.rolledOut();
    if (cni) await this.onEveryNode();
    const webhook = this.objects.get(resources.mutatingWebhooks, webhookName)!;
    const [first] = webhook.webhooks;
    const clientConfig = { ...first.clientConfig, caBundle: Buffer.from('ca').toString('base64') };
    await this.objects.update(resources.mutatingWebhooks, { ...webhook, webhooks: [{ ...first, clientConfig }] });
  }

  /** The DaemonSet of the CNI plugin as its controller leaves it, with two nodes. */
  onEveryNode(ready = 2): Promise<unknown> {
    return this.objects.updateStatus(resources.daemonSets, cniName, cniName, (_, { metadata }) => {
      const counts = { desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: ready };
      return { observedGeneration: metadata.generation, ...counts };
    });
  }

  /** A Deployment as its controller leaves it; the control plane's unless another is named. */
  rolledOut(ready?: number, name = controlName, namespace = controlNamespace): Promise<unknown> {
    return this.objects.updateStatus(resources.deployments, name, namespace, (_, { metadata, spec }) => {
      const { replicas = 1 } = spec;
      const counts = { replicas, updatedReplicas: replicas, availableReplicas: ready ?? replicas };
      return { observedGeneration: metadata.generation, ...counts };
    });
  }
}

/** Lets the API server reach an injector: pods come back from a dry run as it would make them. */
export function withInjector(context: Pick<Context, 'kube'>): void {
  const connect = context.kube;
  context.kube = async () => {
    const kube = await connect();
    const ask = kube.create.bind(kube);
    const create: typeof kube.create = (type, object, options) =>
      options?.dryRun && object.kind === 'Pod'
        ? Promise.resolve({ ...object, spec: { ...object.spec, initContainers: [{ name: proxyContainer }] } })
        : ask(type, object, options);
    return Object.assign(kube, { create });
  };
}

export function controlPod(ready: boolean): KubeObject {
  return pod(controlNamespace, 'mesh-control-1', { 'app.kubernetes.io/name': controlName }, ready);
}

/** A running pod with one container `main`, and with the mesh's label its proxy. */
export function pod(
  namespace: string,
  name: string,
  labels: Record<string, string> = {},
  ready = true,
  annotations: Record<string, string> = {},
  image = 'programs:here',
): KubeObject {
  const state = { running: { startedAt: '2026-01-01T00:00:00Z' } };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations },
    spec: { containers: [{ name: 'main', image }] },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [{ name: 'main', image, ready, restartCount: 0, state }],
    },
  };
}

function kubeconfig(port: number, root: string, token: string): object {
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    'certificate-authority-data': Buffer.from(root).toString('base64'),
  };
  return {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  };
}
