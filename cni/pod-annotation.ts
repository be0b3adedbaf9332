/**
 * The pod's annotation: from the runtime, which knows it (containerd and CRI-O give it to plugins that ask), so that no
 * pod waits for the API server; from there only where the runtime is another one.
 */
import { readFileSync } from 'node:fs';
import { redirectAnnotation } from '../protocol/names.ts';
import { type CniRequest, podOf } from './spec.ts';

/** The capability by which containerd and CRI-O hand a pod's annotations to a plugin. */
export const annotationsCapability = 'io.kubernetes.cri.pod-annotations';

/** What the agent writes for the plugin; readable by root alone. */
export interface ApiAccess {
  /** `https://host:port` */
  server: string;
  ca: string;
  /** May get pods, and nothing else. */
  token: string;
}

/** Where the API server does not tell, the pod is taken for one without a proxy, and `warn` hears why. */
export async function redirectOf(
  request: CniRequest,
  accessFile: string,
  warn: (why: string) => void,
): Promise<string | undefined> {
  const { runtimeConfig } = request.config;
  if (runtimeConfig && Object.hasOwn(runtimeConfig, annotationsCapability))
    return annotationIn(runtimeConfig[annotationsCapability]);
  const pod = podOf(request);
  if (!pod) return undefined;
  try {
    const { annotationsOf } = await import('./ask-api.ts');
    return annotationIn(await annotationsOf(pod, JSON.parse(readFileSync(accessFile, 'utf8'))));
  } catch (error) {
    warn(`pod ${pod.namespace}/${pod.name} cannot be asked for its annotations: ${(error as Error).message}`);
    return undefined;
  }
}

function annotationIn(annotations: unknown): string | undefined {
  const value = (annotations as Record<string, unknown> | null | undefined)?.[redirectAnnotation];
  return typeof value === 'string' ? value : undefined;
}
