/**
 * Waits until the API server reaches the injector, by a dry run of a pod that asks for a proxy. That the control plane
 * is ready does not tell: its Service may not be known to every node yet, or a firewall may stand before it, and until
 * then pods start without a proxy in silence.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace, injectAnnotation, proxyContainer } from '../protocol/names.ts';
import { injectorPort } from '../protocol/ports.ts';
import { CliError } from './errors.ts';

const namespace = 'default';
const probe: KubeObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'mesh-injector-probe', namespace, annotations: { [injectAnnotation]: 'enabled' } },
  spec: { containers: [{ name: 'probe', image: 'none' }] },
};

/** undefined where this user, or another rule of the cluster, keeps the question from being asked. */
async function injects(kube: KubeClient): Promise<boolean | undefined> {
  try {
    const pod = await kube.create(resources.pods, probe, { dryRun: true });
    const containers: { name: string }[] = pod.spec.initContainers ?? [];
    return containers.some((one) => one.name === proxyContainer);
  } catch (error) {
    if (error instanceof KubeError && error.status >= 400 && error.status < 500) return undefined;
    throw error;
  }
}

/** @throws CliError `injector-unreachable` */
export async function waitForInjector(kube: KubeClient, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while ((await injects(kube)) === false) {
    if (performance.now() > deadline) {
      throw new CliError({
        code: 'injector-unreachable',
        message: `The API server of "${kube.name}" does not reach the injector: service ${controlName} in namespace ${controlNamespace}, port 443, port ${injectorPort} of its pods`,
        fix: `Let the API server through to port ${injectorPort} of the nodes' pods (a firewall, a network policy), and read \`mesh logs -n ${controlNamespace} deploy/${controlName}\`.`,
      });
    }
    await delay(200, undefined, { signal });
  }
}
