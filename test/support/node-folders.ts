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

/** A pod says what it has to say in its termination message. */
const prelude = `import fs from 'node:fs';
const tell = (value) => fs.writeFileSync('/dev/termination-log', JSON.stringify(value));
`;

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

  /** Runs a script on the node, with its folders at /bin-dir and /conf-dir; gives what it tells, at most 4 KB of JSON. */
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
        script('main', `${prelude}${source}`, {
          securityContext: { runAsUser: 0 },
          terminationMessagePolicy: 'FallbackToLogsOnError',
          volumeMounts: Object.keys(folders).map((volume) => ({ name: volume, mountPath: `/${volume}` })),
        }),
      ],
      volumes: Object.entries(folders).map(([volume, path]) => ({ name: volume, hostPath: { path } })),
    };
    await this.#cluster.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec });
    return until(
      `the script ${name} has run`,
      async () => {
        const { status } = await this.#cluster.client.get(resources.pods, name, namespace);
        const message = status?.containerStatuses?.[0]?.state?.terminated?.message ?? '{}';
        if (status?.phase === 'Failed') throw new Error(`the script failed: ${message}`);
        return status?.phase === 'Succeeded' && { told: JSON.parse(message) as T };
      },
      60,
    ).then(({ told }) => told);
  }

  /** What is in both folders, by one digest of names, modes and contents; what is of the mesh by name. */
  snapshot(): Promise<{ digest: string; ofTheMesh: string[] }> {
    return this.run(`
import { createHash } from 'node:crypto';
const hash = createHash('sha256');
const ofTheMesh = [];
for (const folder of ['/bin-dir', '/conf-dir'])
  for (const name of fs.readdirSync(folder, { recursive: true }).sort()) {
    const path = folder + '/' + name;
    const stat = fs.statSync(path);
    hash.update(path + ' ' + stat.mode.toString(8) + '\\n').update(stat.isFile() ? fs.readFileSync(path) : '');
    if (/^[^/]*mesh/.test(name)) ofTheMesh.push(path);
  }
tell({ digest: hash.digest('hex'), ofTheMesh });`);
  }

  close(): Promise<void> {
    return this.#cluster.client.delete(resources.namespaces, namespace);
  }
}
