/** A mesh with what acceptance tests ask of it, wherever it runs: local-mesh.ts and cluster-mesh.ts make it so. */
import type { Duplex, Readable, Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { configPrefix } from '../../protocol/names.ts';
import { node, programsImage } from './ground.ts';

export interface PodObject extends KubeObject {
  status: { podIP: string; phase: string; conditions?: { type: string; status: string }[] };
}

/** Asks until the answer is neither undefined nor false. @throws Error naming what did not come */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  seconds = 30,
): Promise<Exclude<NonNullable<T>, false>> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer as Exclude<NonNullable<T>, false>;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await wait(20);
  }
}

export function isReady(pod: KubeObject): boolean {
  const conditions: { type: string; status: string }[] = pod.status?.conditions ?? [];
  return !pod.metadata.deletionTimestamp && conditions.some((one) => one.type === 'Ready' && one.status === 'True');
}

/** A program that runs in a pod. */
export interface Running {
  stdin: Writable;
  stdout: Readable;
  /** Its whole output without the last line end. Rejects with the program's failure and what it said. */
  ended: Promise<string>;
}

/** A connection that one end of is the test's, though it begins or ends in a pod; half-open allowed. */
export interface PodSocket extends Duplex {
  remoteAddress?: string | undefined;
  resetAndDestroy(): this;
}

/** An application of the test's own. */
export interface Application {
  port: number;
  close(): void;
}

/** Somewhere the pods can reach and the mesh does not. */
export interface Outside {
  address: string;
  serve(accept: (socket: PodSocket) => void): Promise<Application>;
}

export abstract class TestMesh {
  abstract readonly client: KubeClient;
  /** Where the pods of these tests are. */
  abstract readonly namespace: string;

  /** Takes everything down and names what is left behind. */
  abstract uninstall(): Promise<string[]>;
  /** Runs the CLI against this mesh and gives what it prints. @throws Error with what it said, where it failed */
  abstract mesh(args: string[], input?: string | Uint8Array): Promise<string>;
  /** Starts a program as the container would: with its network, files and names. */
  abstract start(pod: PodObject, ...command: string[]): Running;
  /** Dials an IPv4 address from inside a pod. */
  abstract dial(pod: PodObject, address: string, port: number): PodSocket;
  /** Listens as an application of a pod would. */
  abstract serve(
    pod: PodObject,
    port: number,
    accept: (socket: PodSocket) => void,
    container?: string,
  ): Promise<Application>;
  /** Kills the program of container `main`; resolves when it runs again. */
  abstract killProgram(pod: PodObject): Promise<void>;
  /** Undefined where there is none, which is then said. */
  abstract outside(): Promise<Outside | undefined>;
  /** Follows the resident memory of a pod's proxy; the function it gives knows the last size, MB. */
  abstract watchMemory(pod: PodObject): Promise<Gauge>;

  /** Applies a manifest as it is, or through `mesh inject`. */
  async apply(manifest: string, meshed: boolean): Promise<void> {
    const written = meshed ? await this.mesh(['inject', '-'], manifest) : manifest;
    await this.mesh(['-n', this.namespace, 'apply', '-f', '-'], written);
  }

  async pods(app: string): Promise<PodObject[]> {
    const pods = await this.client.list<PodObject>(resources.pods, {
      namespace: this.namespace,
      labelSelector: `app=${app}`,
    });
    return pods.filter((pod) => !pod.metadata.deletionTimestamp);
  }

  /** The pods of an app, once that many are ready. */
  ready(app: string, count = 1): Promise<PodObject[]> {
    return until(
      `${count} ready pods of ${app}`,
      async () => {
        const pods = (await this.pods(app)).filter(isReady);
        return pods.length === count && pods;
      },
      60,
    );
  }

  /** Runs a program inside a pod and gives its output. @throws the program's failure */
  exec(pod: PodObject, ...command: string[]): Promise<string> {
    const running = this.start(pod, ...command);
    running.stdin.end();
    return running.ended;
  }

  /** Runs a script of Node inside a pod. */
  script(pod: PodObject, source: string, ...args: string[]): Promise<string> {
    return this.exec(pod, ...nodeCommand(source), ...args);
  }

  /** Waits until a pod without a proxy has a service: what routes to services is a moment behind their endpoints. */
  async reaches(pod: PodObject, url: string): Promise<void> {
    await until(`${url} answers a pod without a proxy`, () =>
      this.exec(pod, 'curl', '-s', '-m', '5', url).then(
        () => true,
        () => false,
      ),
    );
  }

  /** The address of a Service. */
  async address(service: string): Promise<string> {
    const found = await this.client.get(resources.services, service, this.namespace);
    return found.spec.clusterIP;
  }

  async log(pod: PodObject, container: string): Promise<string> {
    let text = '';
    for await (const chunk of await this.client.logs(this.namespace, pod.metadata.name!, { container })) text += chunk;
    return text;
  }
}

export interface Gauge {
  last(): number;
  stop(): void;
}

/** So that programs and proxies of a cluster get a share of a busy machine. */
const cpu = '50m';

export interface WorkloadOptions {
  port?: number;
  replicas?: number;
  /** Besides the container. */
  pod?: Json;
  /** In place of one that connects to the port. */
  readinessProbe?: Json;
  /** Settings of the mesh on its pods and on its Service, without their prefix. */
  settings?: Record<string, string>;
  policy?: Record<string, string>;
}

/** A Deployment of one container `main` and, with a port, its Service. */
export function workload(name: string, command: string[], options: WorkloadOptions = {}): string {
  const labels = { app: name };
  const { port, replicas = 1, pod, settings, policy } = options;
  const annotations = prefixed({ 'proxy-cpu-request': cpu, ...settings });
  const ports = port ? [{ containerPort: port }] : [];
  const readinessProbe = options.readinessProbe ?? (port ? { tcpSocket: { port }, periodSeconds: 1 } : undefined);
  const container = {
    name: 'main',
    image: programsImage,
    imagePullPolicy: 'IfNotPresent',
    command,
    ports,
    readinessProbe,
    resources: { requests: { cpu } },
  };
  const spec = { containers: [container], ...pod };
  const documents: object[] = [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels, annotations }, spec } },
    },
  ];
  if (port)
    documents.push({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, annotations: policy && prefixed(policy) },
      spec: { selector: labels, ports: [{ name: 'main', port }] },
    });
  return documents.map((one) => JSON.stringify(one)).join('\n---\n');
}

function prefixed(settings: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [configPrefix + name, value]));
}

/** A command that runs a script of Node in a pod. */
export function nodeCommand(source: string): string[] {
  return [node, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source];
}
