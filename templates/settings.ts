/** The options an install was made with, read back from its Deployment: what an upgrade keeps. */
import type { Json, KubeObject } from '../kube/types.ts';
import { haReplicas } from './availability.ts';
import { cniOf } from './cni.ts';
import type { InstallOptions } from './index.ts';

/** Of the Deployment's environment what the template itself writes. */
const own = new Set([
  'MALLOC_ARENA_MAX',
  'MESH_CONTROL_TRUST_DOMAIN',
  'MESH_CONTROL_NAMESPACE',
  'MESH_CONTROL_IMAGE',
  'MESH_CONTROL_CNI',
  'MESH_CONTROL_POD_NAME',
  'MESH_CONTROL_POD_IP',
]);

/** An image of the installed version becomes that of the new one, from the same registry; any other is kept. */
function newImage(image: string, from: string, to: string): string {
  return image.endsWith(`:${from}`) ? `${image.slice(0, -from.length)}${to}` : image;
}

export function installedVersion(deployment: KubeObject): string {
  return deployment.metadata.labels?.['app.kubernetes.io/version'] ?? '';
}

export function keptSettings(deployment: KubeObject, version: string): InstallOptions {
  const { template, replicas } = deployment.spec;
  const [container] = template.spec.containers;
  const env = new Map<string, string>(
    (container.env ?? []).flatMap(({ name, value }: Json) => (value === undefined ? [] : [[name, value]])),
  );
  const cni = cniOf(deployment);
  return {
    ...(cni ? { cni } : {}),
    image: newImage(container.image, installedVersion(deployment), version),
    version,
    namespace: deployment.metadata.namespace!,
    trustDomain: env.get('MESH_CONTROL_TRUST_DOMAIN')!,
    ha: replicas >= haReplicas,
    imagePullSecrets: (template.spec.imagePullSecrets ?? []).map((one: { name: string }) => one.name),
    controlEnv: Object.fromEntries([...env].filter(([name]) => !own.has(name))),
  };
}
