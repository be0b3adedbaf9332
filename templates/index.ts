/** What `mesh install` applies. */
import type { KubeObject } from '../kube/types.ts';
import { controlName } from '../protocol/names.ts';
import { disruptionBudget } from './availability.ts';
import { cniObjects } from './cni.ts';
import { controlDeployment, controlService } from './control.ts';
import { controlNetworkPolicy } from './network-policy.ts';
import { clusterRights, namespaceRights, serviceAccount } from './rbac.ts';
import { injectorWebhook } from './webhook.ts';

export interface CniOptions {
  /** The nodes' folder of CNI binaries. */
  binDir: string;
  /** The nodes' folder of network configurations. */
  confDir: string;
}

export interface InstallOptions {
  /** Full image reference. */
  image: string;
  version: string;
  namespace: string;
  trustDomain: string;
  /** Three replicas that do not go at once. */
  ha: boolean;
  /** Secrets of the mesh's namespace that the image is pulled with. */
  imagePullSecrets: string[];
  /** The CNI plugin, in place of init containers that need NET_ADMIN; undefined without it. */
  cni?: CniOptions;
  /** Extra environment of the control plane, e.g. MESH_CONTROL_CERTIFICATE_LIFETIME for tests. */
  controlEnv: Record<string, string>;
}

/** Every object of an install, in the order to apply them. Same options, same objects. */
export type RenderInstall = (options: InstallOptions) => KubeObject[];

export const renderInstall: RenderInstall = (options) => {
  const { namespace } = options;
  const selector = { 'app.kubernetes.io/name': controlName };
  const labels = {
    ...selector,
    'app.kubernetes.io/part-of': 'mesh',
    'app.kubernetes.io/version': options.version,
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { ...labels, 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    serviceAccount(namespace, labels),
    ...clusterRights(namespace, labels),
    ...namespaceRights(namespace, labels),
    controlNetworkPolicy(namespace, labels),
    controlService(namespace, labels, selector),
    ...(options.ha ? [disruptionBudget(namespace, labels, selector)] : []),
    // Before the control plane, whose webhook tells pods to wait for the plugin.
    ...(options.cni ? cniObjects(options, options.cni) : []),
    controlDeployment(options, labels, selector),
    injectorWebhook(namespace, labels),
  ];
};
