/** After the last test on a cluster: the mesh is removed, and what the tests made is waited for. */
import { TestCluster } from './cluster.ts';

export async function teardown(): Promise<void> {
  const cluster = await TestCluster.connect();
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.settled();
  await cluster.close();
}
