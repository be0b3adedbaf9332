import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { cniName, controlName, controlNamespace, injectAnnotation, redirectAnnotation } from '../../protocol/names.ts';
import { deployment, isMeshed, script, TestCluster } from '../support/cluster.ts';
import { until } from '../support/mesh.ts';
import { cniFolders, NodeFolders } from '../support/node-folders.ts';

const strict = 'mesh-test-cni';
const open = 'mesh-test-cni-open';
const baseline = 'mesh-test-cni-baseline';
const server = "require('node:http').createServer((_, response) => response.end('here')).listen(8080)";
const client = `setInterval(() => fetch('http://server:8080').then((response) => response.text()).then(console.log, (error) => console.log(error.message)), 100)`;
const idle = 'setInterval(() => {}, 1000)';
const install = ['--cni', '--cni-bin-dir', cniFolders.bin, '--cni-conf-dir', cniFolders.conf];

let cluster: TestCluster;
let node: NodeFolders;
let before: Awaited<ReturnType<NodeFolders['snapshot']>>;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.run(['uninstall', '--yes', '--force']);
  node = await NodeFolders.open(cluster);
  before = await node.snapshot();
  await cluster.install(...install);
  await cluster.namespace(strict, { [injectAnnotation]: 'enabled' });
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await cluster.client.patch(resources.namespaces, strict, undefined, { metadata: { labels } });
  await cluster.namespace(open);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await node.close();
  await cluster.close();
});

/** A container that pod security level `restricted` admits. */
const main = (source: string, more: Json = {}): Json => ({
  ...script('main', source, more),
  command: ['/opt/mesh/node', '-e', source],
  securityContext: {
    ...{ runAsNonRoot: true, runAsUser: 65_534, allowPrivilegeEscalation: false },
    ...{ capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } },
  },
});
const pod = (namespace: string, name: string, annotations: Record<string, string> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: { app: name }, annotations },
  spec: { nodeName: node.node, terminationGracePeriodSeconds: 1, containers: [main(idle)] },
});
const meshed = { [injectAnnotation]: 'enabled' };
const remove = (namespace: string, name: string) =>
  cluster.client.delete(resources.pods, name, namespace, { gracePeriodSeconds: 0 });

/** Whether the plugin is at the end of the configuration that the node uses. */
const isChained = () =>
  node.run<boolean>(`
const [first] = fs.readdirSync('/conf-dir').filter((name) => /\\.(conf|conflist|json)$/.test(name)).sort();
tell(JSON.parse(fs.readFileSync('/conf-dir/' + first)).plugins.at(-1).type === 'mesh-cni');`);

async function events(namespace: string, name: string): Promise<string> {
  const found = await cluster.client.list(resources.events, {
    namespace,
    fieldSelector: `involvedObject.name=${name}`,
  });
  return found.map(({ reason, message }) => `${reason}: ${message}`).join('\n');
}

describe('with the CNI plugin', () => {
  it('pods of a restricted namespace are meshed with no right at all, and their traffic is mutual TLS', async () => {
    const probe = { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } };
    await cluster.apply(
      ...deployment(strict, 'server', { containers: [main(server, probe)] }, 8080, 2),
      ...deployment(strict, 'client', { containers: [main(client)] }),
    );
    const pods = [...(await cluster.ready(strict, 'server', 2)), ...(await cluster.ready(strict, 'client'))];
    for (const one of pods) {
      expect(isMeshed(one)).toBe(true);
      expect(one.spec.initContainers.map(({ name }: Json) => name)).toEqual(['mesh-validate', 'mesh-proxy']);
      expect(one.status.initContainerStatuses[0].state.terminated.exitCode).toBe(0);
      const print = "process.stdout.write(require('node:fs').readFileSync('/proc/sys/net/ipv4/tcp_tw_reuse'))";
      const said = cluster.exec(strict, one.metadata.name!, 'main', ['/opt/mesh/node', '-e', print]);
      expect((await Promise.all([text(said.stdout), said.ended]))[0]).toBe('1\n');
    }
    await until('all its requests are secured and answered', async () => {
      const { items } = JSON.parse(
        await cluster.mesh(['stat', 'deploy/server', '-n', strict, '-t', '10s', '-o', 'json']),
      );
      return items[0]?.secured === 1 && items[0].success === 1 && items[0].requests_per_second > 1;
    });
    const output = await cluster.mesh(['check', '--proxy']);
    expect(output).toContain('the CNI plugin is in the network configuration of every node');
    expect(output).toContain('results are ✓');
  });

  it('pods of a namespace of level baseline are meshed too', async () => {
    const labels = { 'pod-security.kubernetes.io/enforce': 'baseline' };
    await cluster.namespace(baseline, { [injectAnnotation]: 'enabled' });
    await cluster.client.patch(resources.namespaces, baseline, undefined, { metadata: { labels } });
    await cluster.apply(pod(baseline, 'plain'));
    const [plain] = await cluster.ready(baseline, 'plain');
    expect(isMeshed(plain!)).toBe(true);
  });

  it('a pod without a proxy starts with no rules', async () => {
    await cluster.apply(pod(open, 'plain'));
    const [plain] = await cluster.ready(open, 'plain');
    expect(isMeshed(plain!)).toBe(false);
    await remove(open, 'plain');
  });

  it('a broken plugin lets plain pods start, and says on a meshed one why it does not; the agent mends it', async () => {
    // As long as it was, so that the agent does not see it.
    await node.run(`
for (const version of fs.readdirSync('/bin-dir/mesh-cni.d')) {
  const path = '/bin-dir/mesh-cni.d/' + version + '/nft';
  if (fs.existsSync(path)) fs.writeFileSync(path, Buffer.alloc(fs.statSync(path).size));
}`);
    await cluster.apply(pod(open, 'unlucky', meshed), pod(open, 'plain'));
    await cluster.ready(open, 'plain');
    await until('the event on the meshed pod', async () =>
      /FailedCreatePodSandBox.*mesh: the redirect rules of pod unlucky in namespace mesh-test-cni-open cannot be written/s.test(
        await events(open, 'unlucky'),
      ),
    );
    await node.run(`
for (const one of fs.readdirSync('/bin-dir/mesh-cni.d', { withFileTypes: true }))
  if (one.isDirectory()) fs.rmSync('/bin-dir/mesh-cni.d/' + one.name + '/nft', { force: true });`);
    const [mended] = await cluster.ready(open, 'unlucky');
    expect(isMeshed(mended!)).toBe(true);
    await remove(open, 'unlucky');
    await remove(open, 'plain');
  });

  it('a pod whose network was made without the plugin does not run, says what to do, and is named by check', async () => {
    const manifest = await cluster.mesh(['inject', '--cni', '-'], JSON.stringify(pod(open, 'late')));
    const late = parseAllDocuments(manifest)[0]!.toJS() as KubeObject;
    // Without it the plugin passes the pod, as a node does that has no plugin.
    expect(late.metadata.annotations![redirectAnnotation]).toBe('cni');
    delete late.metadata.annotations![redirectAnnotation];
    await cluster.apply(late);
    const said = await until(
      'its first container gave up',
      async () => {
        const { status } = await cluster.client.get(resources.pods, 'late', open);
        const [validate] = status?.initContainerStatuses ?? [];
        return (validate?.state?.terminated ?? validate?.lastState?.terminated)?.message as string | undefined;
      },
      60,
    );
    expect(said).toMatch(/not redirected to its proxy.*not in place on node.*Delete the pod/s);
    const { exitCode, stdout } = await cluster.run(['check', '--wait', '0']);
    expect(exitCode).toBe(3);
    expect(stdout).toContain(`* ${open}/late`);

    const alone = await cluster.run(['check', '--fix', '--yes', '--wait', '0']);
    expect(alone.stderr).toContain(`pod ${open}/late: nothing makes it anew`);
    // Of a controller's pod, another takes the place.
    const labels = { app: 'late' };
    const { spec } = pod(open, 'late');
    await cluster.apply({
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name: 'late', namespace: open },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels, annotations: meshed }, spec },
      },
    });
    await until('it is adopted', async () => {
      const { metadata } = await cluster.client.get(resources.pods, 'late', open);
      return metadata.ownerReferences?.[0]?.name === 'late';
    });
    const fixed = await cluster.run(['check', '--fix', '--yes', '-o', 'short', '--wait', '60s']);
    expect(fixed.stderr).toContain(`Deleted pod ${open}/late`);
    expect(fixed.stdout.trim().split('\n').at(-1)).toContain('results are ✓');
    const [anew] = await cluster.ready(open, 'late');
    expect(anew!.status.initContainerStatuses[0].state.terminated.exitCode).toBe(0);
    await cluster.client.delete(resources.replicaSets, 'late', open);
  });

  it('a network plugin that rewrites its configuration gets the plugin appended again', async () => {
    await node.run(`
for (const name of fs.readdirSync('/conf-dir').filter((name) => name.endsWith('.mesh-saved')))
  fs.copyFileSync('/conf-dir/' + name, '/conf-dir/' + name.replace('.mesh-saved', ''));`);
    await until('it is chained again', isChained);
  });

  it('pods are meshed while the agents are replaced, and after an upgrade', async () => {
    const annotations = { 'mesh.dev/test': 'roll' };
    await cluster.client.patch(resources.daemonSets, cniName, cniName, {
      spec: { template: { metadata: { annotations } } },
    });
    await cluster.apply(pod(strict, 'during'));
    await cluster.ready(strict, 'during');
    await until('the agents are new', async () => {
      const { metadata, status } = await cluster.client.get(resources.daemonSets, cniName, cniName);
      return (
        status.observedGeneration === metadata.generation &&
        status.updatedNumberScheduled === status.desiredNumberScheduled &&
        status.numberReady === status.desiredNumberScheduled
      );
    });
    expect(await isChained()).toBe(true);
    await cluster.mesh(['upgrade']);
    await cluster.apply(pod(strict, 'after'));
    const [after] = await cluster.ready(strict, 'after');
    expect(isMeshed(after!)).toBe(true);
    for (const name of ['during', 'after']) await remove(strict, name);
  });

  it('only the plugin’s own pods see folders of the host', async () => {
    const [control] = await cluster.pods(controlNamespace, `app.kubernetes.io/name=${controlName}`);
    expect(JSON.stringify(control)).not.toContain('hostPath');
    const [agent] = await cluster.pods(cniName);
    const paths = agent!.spec.volumes.flatMap((volume: Json) => volume.hostPath?.path ?? []);
    expect(paths).toEqual([cniFolders.bin, cniFolders.conf]);
    expect(agent!.spec.containers[0].securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('its account may get pods in any namespace, and nothing else', async () => {
    const lines = (rules: Json[]): string[] =>
      rules.flatMap((rule) =>
        rule.resources.map((name: string) => `${rule.verbs} ${name} ${rule.resourceNames ?? ''}`),
      );
    const own = lines(await cluster.rightsOf(cniName, cniName, 'default'));
    const everyone = new Set(lines(await cluster.rightsOf('default', 'nobody', 'default')));
    expect(own.filter((line) => !everyone.has(line))).toEqual(['get pods ']);
  });
});

describe('without it again', () => {
  it('an install without --cni takes it off the nodes, and new pods get the init container', async () => {
    await cluster.install();
    expect(await node.snapshot()).toEqual(before);
    await cluster.apply(pod(open, 'back', meshed));
    const [back] = await cluster.ready(open, 'back');
    expect(back!.spec.initContainers.map(({ name }: Json) => name)).toEqual(['mesh-init', 'mesh-proxy']);
    expect(await cluster.mesh(['check'])).not.toContain('CNI');
    await remove(open, 'back');
  });

  it('an uninstall leaves the folders of the nodes as they were, and pods start', async () => {
    await cluster.install(...install);
    expect(await isChained()).toBe(true);
    await cluster.mesh(['uninstall', '--yes', '--force']);
    expect(await node.snapshot()).toEqual(before);
    await cluster.apply(pod(open, 'alone'));
    await cluster.ready(open, 'alone');
  });
});
