/** The categories of `mesh check`, in their order. Each check has a section in docs/checks.md. */
import type { Category } from './check.ts';
import { kubernetesApi, kubernetesVersion } from './kubernetes.ts';
import { meshCni } from './mesh-cni.ts';
import { meshControlPlane } from './mesh-control-plane.ts';
import { meshDataPlane } from './mesh-data-plane.ts';
import { meshExistence } from './mesh-existence.ts';
import { meshIdentity } from './mesh-identity.ts';
import { meshVersion } from './mesh-version.ts';
import { meshWebhook } from './mesh-webhook.ts';
import { preInstallCluster, preInstallLocal } from './pre-install.ts';

export interface CheckScope {
  /** Whether the mesh can be installed, in place of whether it is well. */
  pre: boolean;
  /** The proxies too. */
  proxy: boolean;
  /** Whether the local mesh of this machine is meant. */
  local: boolean;
}

export async function categoriesOf({ pre, proxy, local }: CheckScope): Promise<Category[]> {
  if (pre) return local ? [await preInstallLocal()] : [kubernetesApi, kubernetesVersion, preInstallCluster()];
  return [
    kubernetesApi,
    kubernetesVersion,
    meshExistence,
    meshCni,
    meshControlPlane,
    meshIdentity,
    meshWebhook,
    meshVersion,
    ...(proxy ? [meshDataPlane] : []),
  ];
}
