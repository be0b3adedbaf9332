/** The Kubernetes cluster of KUBECONFIG, with what tests ask of it. They have cluster-admin there. */
import { delimiter, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';
import { execa } from 'execa';
import { askPod } from '../../cli/pod-http.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createConfiguredClient } from '../../kube/configured.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../../kube/types.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { controlNamespace, exampleRepository, meshedLabel, trustBundleConfigMap } from '../../protocol/names.ts';
import { apiPort } from '../../protocol/ports.ts';
import { isReady, until } from './mesh.ts';

const root = join(import.meta.dirname, '../..');

/** An image with Node at /opt/mesh/node, as the example has it. */
const nodeImage = `${exampleRepository}:${packageJson.version}`;

/** A program in a container. */
interface Executed {
  stdin: PassThrough;
  stdout: PassThrough;
  /** Resolves behind the last of its output. Rejects with its exit code and what it said. */
  ended: Promise<void>;
}

export interface Outcome {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** For a pod that is asked something. */
const answerMs = 60_000;

const rulesReviews: ResourceType = {
  group: 'authorization.k8s.io',
  version: 'v1',
  kind: 'SelfSubjectRulesReview',
  plural: 'selfsubjectrulesreviews',
  namespaced: false,
};

function connect(as?: string): Promise<KubeClient> {
  const files = (process.env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== '');
  if (files.length === 0) throw new Error('KUBECONFIG is not set; see npm run test:cluster');
  return createConfiguredClient({ files, as, timeoutMs: 15_000, local: false });
}

export class TestCluster {
  readonly client: KubeClient;
  readonly #namespaces: string[] = [];

  private constructor(client: KubeClient) {
    this.client = client;
  }

  static async connect(): Promise<TestCluster> {
    return new TestCluster(await connect());
  }

  /** Runs the CLI; a failure is an answer too. */
  async run(args: string[], options: { input?: string; env?: Record<string, string> } = {}): Promise<Outcome> {
    const { input = '', env = {} } = options;
    const result = await execa(join(root, 'bin/mesh'), args, { input, env, reject: false, timeout: 170_000 });
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
  }

  /** Runs the CLI and gives what it prints. @throws Error with what it said, where it failed */
  async mesh(args: string[], input = ''): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(args, { input });
    if (exitCode !== 0) throw new Error(`mesh ${args.join(' ')} failed with ${exitCode}:\n${stdout}\n${stderr}`);
    return stdout;
  }

  install(...flags: string[]): Promise<string> {
    return this.mesh(['install', ...flags]);
  }

  /** A namespace of the test's own; deleted by `close`. */
  async namespace(name: string, annotations: Record<string, string> = {}): Promise<string> {
    await until(
      `namespace ${name} of an earlier run is gone`,
      async () => {
        const left = await this.client.find(resources.namespaces, name);
        if (left && !left.metadata.deletionTimestamp) await this.client.delete(resources.namespaces, name);
        return left === undefined;
      },
      90,
    );
    await this.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations } });
    this.#namespaces.push(name);
    // Pods are refused until it has its account; the trust bundle says that the control plane has seen it.
    await until(`the default account of ${name}`, () => this.client.find(resources.serviceAccounts, 'default', name));
    await until(`the trust bundle of ${name}`, () =>
      this.client.find(resources.configMaps, trustBundleConfigMap, name),
    );
    return name;
  }

  async apply(...objects: KubeObject[]): Promise<void> {
    for (const object of objects) await this.client.apply(object, { fieldManager: 'test', force: true });
  }

  pods(namespace: string, labelSelector = ''): Promise<KubeObject[]> {
    return this.client.list(resources.pods, { namespace, labelSelector });
  }

  /** The pods of an app, once that many are ready and no other is left. */
  ready(namespace: string, app: string, count = 1): Promise<KubeObject[]> {
    return until(
      `${count} ready pods of ${app}`,
      async () => {
        const pods = await this.pods(namespace, `app=${app}`);
        return pods.length === count && pods.every(isReady) && pods;
      },
      90,
    );
  }

  /** The whole log of a container. */
  async log(namespace: string, pod: string, container: string): Promise<string> {
    let text = '';
    for await (const chunk of await this.client.logs(namespace, pod, { container })) text += chunk;
    return text;
  }

  /** Starts a program in a container, as `kubectl exec` does. */
  exec(namespace: string, pod: string, container: string, command: readonly string[]): Executed {
    const config = new KubeConfig();
    config.loadFromDefault();
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    let said = '';
    stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    const failed = (why?: string) => new Error(`${command.join(' ').slice(0, 300)} in ${pod}: ${why}\n${said}`);
    const ended = new Promise<void>((resolve, reject) => {
      const settle = (status: V1Status) => (status.status === 'Success' ? resolve() : reject(failed(status.message)));
      new Exec(config)
        .exec(namespace, pod, container, [...command], stdout, stderr, stdin, false, settle)
        .then((socket) => socket.on('close', () => reject(failed('the connection closed'))), reject);
    });
    const read = finished(stdout, { writable: false });
    return { stdin, stdout, ended: ended.then(() => read) };
  }

  /** What one replica of the control plane answers. */
  async ask<T>(pod: string, path: string): Promise<T> {
    return JSON.parse(await this.get(controlNamespace, pod, apiPort, path)) as T;
  }

  /** What a pod answers on its loopback address. */
  async get(namespace: string, pod: string, port: number, path: string): Promise<string> {
    const { body } = await askPod(this.client, { namespace, name: pod }, port, { path }, answerMs);
    return body;
  }

  /** What a service account may do in a namespace: rules, as `kubectl auth can-i --list --as …` shows them. */
  async rightsOf(namespace: string, account: string, inNamespace: string): Promise<Json[]> {
    const client = await connect(`system:serviceaccount:${namespace}:${account}`);
    try {
      const review = await client.create<KubeObject>(rulesReviews, {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectRulesReview',
        metadata: {},
        spec: { namespace: inNamespace },
      });
      return review.status.resourceRules;
    } finally {
      client.close();
    }
  }

  /** Every object of some types, as `Kind namespace/name`. */
  async everything(types: ResourceType[]): Promise<string[]> {
    const lists = await Promise.all(types.map((type) => this.client.list(type)));
    return lists
      .flat()
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`)
      .sort();
  }

  /** Waits until no namespace is on its way out. */
  async settled(): Promise<void> {
    const gone = async () =>
      (await this.client.list(resources.namespaces)).every(({ metadata }) => !metadata.deletionTimestamp);
    await until('no namespace is terminating', gone, 120);
  }

  /** Deletes the namespaces made and waits until they are gone. */
  async close(): Promise<void> {
    for (const name of this.#namespaces) {
      if (await this.client.find(resources.namespaces, name)) await this.client.delete(resources.namespaces, name);
    }
    for (const name of this.#namespaces) {
      await until(`namespace ${name} is gone`, async () => !(await this.client.find(resources.namespaces, name)), 120);
    }
    this.client.close();
  }
}

export const isMeshed = (pod: KubeObject): boolean => pod.metadata.labels?.[meshedLabel] === 'enabled';

/** A container that runs a script of Node. */
export function script(name: string, source: string, more: Json = {}): Json {
  return {
    name,
    image: nodeImage,
    imagePullPolicy: 'IfNotPresent',
    command: ['/opt/mesh/node', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source],
    ...more,
  };
}

/** A Deployment, and with a port its Service. */
export function deployment(namespace: string, name: string, pod: Json, port?: number, replicas = 1): KubeObject[] {
  const labels = { app: name };
  const objects: KubeObject[] = [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 2, ...pod } },
      },
    },
  ];
  if (port) objects.push(service(namespace, name, port));
  return objects;
}

export function service(namespace: string, name: string, port: number, more: Json = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: name }, ports: [{ name: 'http', port }], ...more },
  };
}
