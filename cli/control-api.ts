/** The control plane's API: HTTP over a port-forward to a ready pod, so that Kubernetes' own rights guard it. */
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import type { ApiError } from '../protocol/api.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { apiPort } from '../protocol/ports.ts';
import { requestTimeout } from './connect.ts';
import type { Context } from './context.ts';
import { controlPods, isReadyPod } from './control-pods.ts';
import { CliError } from './errors.ts';
import { askPod } from './pod-http.ts';
import { podTrouble } from './pod-trouble.ts';
import { renderWarning } from './render/error.ts';
import { sayIfSlow } from './render/status.ts';
import { controlTrouble } from './wait-for-control.ts';

export interface ControlApi {
  /** The parsed JSON of a 200, of whichever ready replica answers. @throws CliError `control-unreachable`, or with the control plane's own code */
  get<T>(path: string): Promise<T>;
  /** The same of every ready replica. */
  each<T>(path: string): Promise<T[]>;
}

/** @throws CliError `mesh-not-installed` or `control-not-ready` */
export async function openControl(context: Pick<Context, 'kube' | 'io' | 'globals'>): Promise<ControlApi> {
  const { io } = context;
  const timeoutMs = requestTimeout(context.globals);
  const kube = await context.kube();
  const pods = await controlPods(kube);
  const deployment = pods.length === 0 && (await kube.find(resources.deployments, controlName, controlNamespace));
  if (deployment) {
    const { message, fix } = await controlTrouble(kube, deployment);
    throw new CliError({ code: 'control-not-ready', message: `The control plane has no pod: ${message}`, fix });
  }
  if (pods.length === 0) {
    throw new CliError({
      code: 'mesh-not-installed',
      message: `There is no control plane in "${kube.name}": namespace ${controlNamespace} has no pod of deploy/${controlName}`,
    });
  }
  // The one that runs longest first: it has heard what proxies reported before the others came.
  const since = (pod: KubeObject): string => pod.status?.startTime ?? '';
  const ready = pods
    .filter(isReadyPod)
    .sort((a, b) => (since(a) < since(b) ? -1 : 1))
    .map((pod) => pod.metadata.name!);
  if (ready.length === 0) {
    const { message, fix } = await podTrouble(kube, pods[0]!);
    throw new CliError({
      code: 'control-not-ready',
      message: `No pod of deploy/${controlName} is ready: ${message}`,
      fix,
    });
  }
  const ask = <T>(pod: string, path: string): Promise<T> => {
    io.detail(`Asking pod/${pod} for ${path}`);
    return sayIfSlow(io, `Waiting for the control plane (pod/${pod})`, call<T>(kube, pod, path, timeoutMs));
  };
  const get = async <T>(path: string, [pod, ...others]: readonly string[]): Promise<T> => {
    try {
      return await ask<T>(pod!, path);
    } catch (error) {
      const [next] = others;
      if (next === undefined || !(error instanceof CliError) || error.code !== 'control-unreachable') throw error;
      renderWarning(io, `${error.message}; pod/${next} is asked in its place, which may know less`);
      return get(path, others);
    }
  };
  return {
    get: (path) => get(path, ready),
    each: (path) => Promise.all(ready.map((pod) => ask(pod, path))) as Promise<never[]>,
  };
}

async function call<T>(kube: KubeClient, pod: string, path: string, timeoutMs: number): Promise<T> {
  const metadata = { namespace: controlNamespace, name: pod };
  try {
    const { status, body } = await askPod(kube, metadata, apiPort, { path }, timeoutMs);
    const parsed: unknown = JSON.parse(body);
    if (status === 200) return parsed as T;
    const { code, message } = parsed as ApiError;
    throw new CliError({
      code: code === 'bad-query' ? code : 'control-refused',
      message: `The control plane (pod/${pod}) refuses ${path.split('?', 1)[0]}: ${message}`,
    });
  } catch (error) {
    if (error instanceof CliError || (error instanceof KubeError && error.status === 403)) throw error;
    throw unreachable(pod, error);
  }
}

function unreachable(pod: string, cause: unknown): CliError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new CliError({
    code: 'control-unreachable',
    message: `The control plane (pod/${pod} in namespace ${controlNamespace}) does not answer${why}`,
    cause,
  });
}
