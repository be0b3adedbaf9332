/** Steady traffic from a pod of a cluster. It is steered over a port-forward, and goes on where that is not to be had. */
import { setTimeout as wait } from 'node:timers/promises';
import type { KubeObject } from '../../kube/types.ts';
import { deployment, script, type TestCluster } from './cluster.ts';
import { expectUnharmed, loadSource, type Steady } from './load.ts';
import { isReady, until } from './mesh.ts';

const steeringPort = 9999;

/** A service that answers within milliseconds, and lets what it has begun finish when it is told to end. */
const helloSource = `
import { createServer } from 'node:http';
import { hostname } from 'node:os';
const server = createServer((request, response) => {
  setTimeout(() => response.end(request.url === '/name' ? hostname() : 'hello'), 2);
}).listen(8000);
process.on('SIGTERM', () => server.close(() => process.exit(0)));`;

/** A Deployment and Service of that. */
export function hello(namespace: string, name: string, replicas: number): KubeObject[] {
  const readinessProbe = { tcpSocket: { port: 8000 }, periodSeconds: 1 };
  const pod = { containers: [script('main', helloSource, { readinessProbe })], terminationGracePeriodSeconds: 20 };
  return deployment(namespace, name, pod, 8000, replicas);
}

export const url = (service: string): string => `http://${service}:8000/`;

/** None of the pods that were there is left, and as many others are ready. */
export function replaced(
  cluster: TestCluster,
  namespace: string,
  app: string,
  before: KubeObject[],
  seconds = 90,
): Promise<KubeObject[]> {
  const old = new Set(before.map(({ metadata }) => metadata.uid));
  return until(
    `other pods of ${app}`,
    async () => {
      const now = await cluster.pods(namespace, `app=${app}`);
      return now.length === before.length && now.every((pod) => isReady(pod) && !old.has(pod.metadata.uid)) && now;
    },
    seconds,
  );
}

/** On the pod's loopback address, which no proxy is in the way of. */
const steered = `${loadSource}
import { createServer } from 'node:http';
let load;
const later = [];
const ask = async (url) => {
  const begun = performance.now();
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10000) });
    return { url, status: response.status, body: await response.text(), ms: Math.round(performance.now() - begun) };
  } catch (error) {
    return { url, status: 0, body: String(error.cause?.message ?? error.message), ms: Math.round(performance.now() - begun) };
  }
};
createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://load');
  const url = searchParams.get('url');
  const answer = (value) => response.end(JSON.stringify(value));
  if (pathname === '/start') load = steady(url, Number(searchParams.get('rate')), () => answer({}));
  else if (pathname === '/stop') answer(await load.stop());
  else if (pathname === '/ask') answer(await ask(url));
  else if (pathname === '/later') {
    later.push(new Promise((resolve) => setTimeout(() => resolve(ask(url)), Number(searchParams.get('ms')))));
    answer({});
  } else answer(await Promise.all(later.splice(0)));
}).listen(${steeringPort}, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));`;

/** One answer to one request; status 0 where there was none, with the reason as body. */
export interface Answer {
  url: string;
  status: number;
  body: string;
  ms: number;
}

export class ClusterLoad {
  readonly #cluster: TestCluster;
  readonly #namespace: string;
  readonly #pod: string;

  private constructor(cluster: TestCluster, namespace: string, pod: string) {
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#pod = pod;
  }

  /** A Deployment `load` in a namespace, ready. */
  static async start(cluster: TestCluster, namespace: string): Promise<ClusterLoad> {
    await cluster.apply(...deployment(namespace, 'load', { containers: [script('main', steered)] }));
    const [pod] = await cluster.ready(namespace, 'load');
    return new ClusterLoad(cluster, namespace, pod!.metadata.name!);
  }

  get pod(): string {
    return this.#pod;
  }

  async #steer<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
    const entries = Object.entries(query).map(([name, value]) => [name, String(value)]);
    const search = new URLSearchParams(Object.fromEntries(entries));
    return JSON.parse(await this.#cluster.get(this.#namespace, this.#pod, steeringPort, `${path}?${search}`)) as T;
  }

  /** One request, now. */
  ask(url: string): Promise<Answer> {
    return this.#steer('/ask', { url });
  }

  /** One request that the pod sends by itself in so many milliseconds. */
  async later(url: string, ms: number): Promise<void> {
    await this.#steer('/later', { url, ms });
  }

  /** What came of those; waits for the last. */
  answers(): Promise<Answer[]> {
    return this.#steer('/answers');
  }

  /** As `during`; none may fail, and the rate must have been held. */
  async unnoticed(url: string, rate: number, happens: () => Promise<void>): Promise<Steady> {
    const result = await this.during(url, rate, happens);
    expectUnharmed(result, rate);
    return result;
  }

  /** Sends requests at a fixed rate while something happens, and a second longer. What was seen goes to stderr. */
  async during(url: string, rate: number, happens: () => Promise<void>): Promise<Steady> {
    await this.#steer('/start', { url, rate });
    let result: Steady | undefined;
    try {
      await happens();
      // What breaks with a delay is to be seen too.
      await wait(1_000);
    } finally {
      result = await this.#steer<Steady>('/stop');
      const failed = Object.values(result.failures).reduce((sum, count) => sum + count, 0);
      const figures = `${result.sent} sent in ${result.seconds.toFixed(0)} s, ${failed} failed, slowest ${result.slowest} ms`;
      process.stderr.write(`${url}: ${figures} ${failed > 0 ? JSON.stringify(result.failures) : ''}\n`);
    }
    return result;
  }
}
