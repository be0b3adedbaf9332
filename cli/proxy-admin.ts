/** The admin port of a pod's proxy: HTTP over a port-forward to the pod, so that Kubernetes' own rights guard it. */
import { type KubeClient, KubeError } from '../kube/client.ts';
import type { KubeObject } from '../kube/types.ts';
import { meshedLabel } from '../protocol/names.ts';
import { adminPort } from '../protocol/ports.ts';
import { requestTimeout } from './connect.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { askPod } from './pod-http.ts';
import { sayIfSlow } from './render/status.ts';

export const isMeshed = (pod: KubeObject): boolean => pod.metadata.labels?.[meshedLabel] === 'enabled';

/** Asks the proxy of a pod, and gives the body of a 200. @throws CliError `not-meshed`, `proxy-unreachable` or `proxy-refused` */
export function askProxy(
  { io, globals }: Pick<Context, 'io' | 'globals'>,
  kube: KubeClient,
  pod: KubeObject,
  path: string,
  method: 'GET' | 'PUT' = 'GET',
): Promise<string> {
  const name = nameOf(pod);
  if (!isMeshed(pod)) throw new CliError({ code: 'not-meshed', message: `${name} has no proxy` });
  io.detail(`Asking the proxy of ${name} for ${path}`);
  return sayIfSlow(io, `Waiting for the proxy of ${name}`, call(kube, pod, { path, method }, requestTimeout(globals)));
}

const nameOf = ({ metadata }: KubeObject): string => `pod/${metadata.name} in namespace ${metadata.namespace}`;

async function call(
  kube: KubeClient,
  pod: KubeObject,
  asked: { path: string; method: 'GET' | 'PUT' },
  timeoutMs: number,
): Promise<string> {
  try {
    const { status, body } = await askPod(kube, pod.metadata, adminPort, asked, timeoutMs);
    if (status === 200) return body;
    const path = asked.path.split('?', 1)[0];
    throw new CliError({
      code: 'proxy-refused',
      message: `The proxy of ${nameOf(pod)} refuses ${path}: ${body.trim()} (status ${status})`,
    });
  } catch (error) {
    if (error instanceof CliError || (error instanceof KubeError && error.status === 403)) throw error;
    const why = error instanceof Error ? `: ${error.message}` : '';
    throw new CliError({
      code: 'proxy-unreachable',
      message: `The proxy of ${nameOf(pod)} does not answer${why}`,
      cause: error,
    });
  }
}
