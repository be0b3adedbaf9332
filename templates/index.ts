/** What `mesh install` applies. */
import type { KubeObject } from '../kube/types.ts';

export interface InstallOptions {
  /** Full image reference. */
  image: string;
  version: string;
  namespace: string;
  trustDomain: string;
  /** Extra environment of the control plane, e.g. MESH_CONTROL_CERTIFICATE_LIFETIME for tests. */
  controlEnv: Record<string, string>;
}

/** Every object of an install, in the order to apply them. */
export type RenderInstall = (options: InstallOptions) => KubeObject[];
