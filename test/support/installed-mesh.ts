import { ClusterMesh } from './cluster-mesh.ts';
import { onCluster } from './ground.ts';
import { LocalMesh } from './local-mesh.ts';
import type { TestMesh } from './mesh.ts';

/** A mesh to run acceptance tests on. `name`: of the tests, in case things must be told apart. */
export function installMesh(name: string): Promise<TestMesh> {
  return onCluster ? ClusterMesh.install(name) : LocalMesh.install();
}
