/** The CNI folders of a cluster's node, looked at and changed by pods: a test need not run on that node. */
import { resources } from '../../kube/resources.ts';
import type { Json } from '../../kube/types.ts';
import { script, type TestCluster } from './cluster.ts';
import { until } from './mesh.ts';

export const cniFolders = {
  bin: process.env.MESH_TEST_CNI_BIN || '/opt/cni/bin',
  conf: process.env.MESH_TEST_CNI_CONF || '/etc/cni/net.d',
};

const namespace = 'mesh-test-node';

export class NodeFolders {
  readonly node: string;
  readonly #cluster: TestCluster;
  #count = 0;

  private constructor(cluster: TestCluster, node: string) {
    this.#cluster = cluster;
    this.node = node;
  }

  /** Of one node of the cluster. */
  static async open(cluster: TestCluster): Promise<NodeFolders> {
    const [node] = await cluster.client.list(resources.nodes);
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await until('the default account', () => cluster.client.find(resources.serviceAccounts, 'default', namespace));
    return new NodeFolders(cluster, node!.metadata.name!);
  }

  /** Runs a script on the node, with its folders at /bin-dir and /conf-dir; gives what it prints, as JSON. */
  async run<T>(source: string): Promise<T> {
    const name = `run-${process.pid}-${++this.#count}`;
    const folders = { 'bin-dir': cniFolders.bin, 'conf-dir': cniFolders.conf };
    const spec: Json = {
      restartPolicy: 'Never',
      nodeName: this.node,
      // Needs no network, which may be what is looked at.
      hostNetwork: true,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        script('main', `import fs from 'node:fs';\n${source}`, {
          securityContext: { runAsUser: 0 },
          volumeMounts: Object.keys(folders).map((volume) => ({ name: volume, mountPath: `/${volume}` })),
        }),
      ],
      volumes: Object.entries(folders).map(([volume, path]) => ({ name: volume, hostPath: { path } })),
    };
    await this.#cluster.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec });
    await until(
      `the script ${name} has run`,
      async () => {
        const { status } = await this.#cluster.client.get(resources.pods, name, namespace);
        if (status?.phase === 'Failed')
          throw new Error(`the script failed: ${await this.#cluster.log(namespace, name, 'main')}`);
        return status?.phase === 'Succeeded';
      },
      60,
    );
    return JSON.parse((await this.#cluster.log(namespace, name, 'main')) || 'null') as T;
  }

  /** Every file of both folders: its mode and what is in it, shortened to a digest. */
  snapshot(): Promise<Record<string, string>> {
    return this.run(`
import { createHash } from 'node:crypto';
const found = {};
for (const folder of ['/bin-dir', '/conf-dir'])
  for (const name of fs.readdirSync(folder, { recursive: true }).sort()) {
    const path = folder + '/' + name;
    const { mode } = fs.statSync(path);
    const digest = fs.statSync(path).isFile() ? createHash('sha256').update(fs.readFileSync(path)).digest('hex') : '';
    found[path] = mode.toString(8) + ' ' + digest;
  }
console.log(JSON.stringify(found));`);
  }

  close(): Promise<void> {
    return this.#cluster.client.delete(resources.namespaces, namespace);
  }
}
