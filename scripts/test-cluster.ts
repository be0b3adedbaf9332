/**
 * `npm run test:cluster`: the tests that need a Kubernetes cluster, on the one that KUBECONFIG names. They install and
 * remove the mesh in it. MESH_TEST_LOAD is a command that loads an image archive into the cluster (it gets the file as
 * its last argument), for example `kind load image-archive`; without it the images must be there. MESH_TEST_API_STOP and
 * MESH_TEST_API_START are commands that end the cluster's API server and start it again; without them what happens while
 * it is away is not tested. scripts/api-server.sh is both for a cluster of plain processes. Arguments go to vitest.
 * MESH_TEST_CNI_BIN and MESH_TEST_CNI_CONF name the nodes' CNI folders where they are not /opt/cni/bin and
 * /etc/cni/net.d. Acceptance tests run programs in pods, in an image that is made of this machine's own.
 */
import { execa } from 'execa';
import { writeProgramsImage } from '../test/support/programs-image.ts';
import { ensurePrograms, testPrograms } from './programs.ts';

const { KUBECONFIG: kubeconfig, MESH_TEST_LOAD: load } = process.env;
if (!kubeconfig) {
  process.stderr.write(
    `KUBECONFIG is not set: these tests need a cluster that may be changed, and cluster-admin in it. For example:
  kind create cluster --kubeconfig /tmp/kind.config
  KUBECONFIG=/tmp/kind.config MESH_TEST_LOAD='kind load image-archive' npm run test:cluster
`,
  );
  process.exit(2);
}
if (load) {
  await ensurePrograms(testPrograms);
  await execa('node', ['image/main.ts'], { stdio: 'inherit' });
  const archives = ['dist/mesh-image.tar', 'dist/shop-image.tar', await writeProgramsImage()];
  for (const archive of archives) await execa('sh', ['-c', `${load} ${archive}`], { stdio: 'inherit' });
} else {
  process.stderr.write('MESH_TEST_LOAD is not set: the images that it would load must be in the cluster already\n');
  await execa('node', ['scripts/build.ts'], { stdio: 'inherit' });
}
const result = await execa('vitest', ['run', '--project', 'cluster', ...process.argv.slice(2)], {
  preferLocal: true,
  stdio: 'inherit',
  reject: false,
});
process.exitCode = result.exitCode ?? 1;
