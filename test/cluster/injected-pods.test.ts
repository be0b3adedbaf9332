/** What the webhook makes of pods: no right more than docs/injection.md says, and events that tell what it did. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { deployment, script, TestCluster } from '../support/cluster.ts';
import { until } from '../support/mesh.ts';

const namespace = 'mesh-test-injected';
const idle = 'setInterval(() => {}, 1000)';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install();
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

interface Told {
  kind: string;
  name: string;
  reason: string;
  message: string;
}

/** Events of the injector, in the order of the names of what they are about. */
async function told(where = namespace): Promise<Told[]> {
  const events = await cluster.client.list(resources.events, { namespace: where });
  return events
    .filter(({ source }) => source?.component === 'mesh-control')
    .map(({ involvedObject: { kind, name }, reason, message }) => ({ kind, name, reason, message }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

const names = (list: Json[] = []): string[] => list.map((one) => one.name);

describe('a pod that the webhook meshed', () => {
  it('has no right that the manifest does not show, and its own containers are as they were', async () => {
    const containers = [script('main', idle)];
    await cluster.apply(...deployment(namespace, 'plain', { containers }));
    const [pod] = await cluster.ready(namespace, 'plain');
    const { spec } = pod!;
    expect(names(spec.initContainers)).toEqual(['mesh-init', 'mesh-proxy']);
    const [init, proxy] = spec.initContainers as [Json, Json];
    for (const { name, securityContext: context } of [init, proxy]) {
      expect(context, name).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      expect(context.privileged, name).toBeUndefined();
      expect(context.capabilities.drop, name).toEqual(['ALL']);
    }
    expect(init.securityContext.capabilities.add).toEqual(['NET_ADMIN', 'NET_RAW']);
    expect(proxy.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 2102 });
    expect(proxy.securityContext.capabilities.add).toBeUndefined();
    expect(spec.volumes.filter((volume: Json) => volume.hostPath)).toEqual([]);
    expect([spec.hostNetwork, spec.hostPID, spec.hostIPC, spec.shareProcessNamespace].filter(Boolean)).toEqual([]);
    // Its token and the mesh's roots are the proxy's alone.
    expect(names(spec.containers[0].volumeMounts).filter((name) => name.startsWith('mesh-'))).toEqual([]);
    expect(spec.containers[0].securityContext).toBeUndefined();
  });

  it('is held by the kernel to what the manifest says', async () => {
    const [pod] = await cluster.ready(namespace, 'plain');
    const source = `
import { readFileSync, writeFileSync } from 'node:fs';
const status = readFileSync('/proc/1/status', 'utf8');
const field = (name) => new RegExp('^' + name + ':\\\\s*(\\\\S+)', 'm').exec(status)[1];
let write = 'written';
try { writeFileSync('/opt/mesh/file', ''); } catch (error) { write = error.code; }
console.log(JSON.stringify({ user: field('Uid'), effective: field('CapEff'), bounding: field('CapBnd'), seccomp: field('Seccomp'), gain: field('NoNewPrivs'), write }));`;
    const command = ['/opt/mesh/node', '--input-type=module', '-e', source];
    const { stdout, ended } = cluster.exec(namespace, pod!.metadata.name!, 'mesh-proxy', command);
    let said = '';
    stdout.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    await ended;
    expect(JSON.parse(said)).toEqual({
      user: '2102',
      effective: '0000000000000000',
      bounding: '0000000000000000',
      seccomp: '2',
      gain: '1',
      write: 'EROFS',
    });
  });

  it('is refused where the security level of its namespace forbids what `mesh-init` needs, with the reason', async () => {
    const where = await cluster.namespace('mesh-test-baseline', { [injectAnnotation]: 'enabled' });
    const labels = { 'pod-security.kubernetes.io/enforce': 'baseline' };
    await cluster.client.patch(resources.namespaces, where, undefined, { metadata: { labels } });
    await cluster.apply(...deployment(where, 'refused', { containers: [script('main', idle)] }));
    const why = await until('the event of its ReplicaSet', async () => {
      const events = await cluster.client.list(resources.events, { namespace: where });
      return events.find(({ reason }) => reason === 'FailedCreate')?.message as string | undefined;
    });
    expect(why).toMatch(/violates PodSecurity "baseline.*mesh-init.*NET_ADMIN/);
    expect(await cluster.pods(where)).toEqual([]);
  });
});

describe('events', () => {
  const job = (name: string): KubeObject => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace },
    spec: {
      template: {
        metadata: { labels: { app: name } },
        spec: { restartPolicy: 'Never', containers: [script('main', 'console.log("done")')] },
      },
    },
  });
  it('say once on what a pod belongs to that it got its proxy', async () => {
    await cluster.apply(...deployment(namespace, 'two', { containers: [script('main', idle)] }, undefined, 2));
    await cluster.apply(job('once'));
    await cluster.ready(namespace, 'two', 2);
    const [set] = await cluster.client.list(resources.replicaSets, { namespace, labelSelector: 'app=two' });
    const about = async () => (await told()).filter(({ name }) => [set!.metadata.name, 'once'].includes(name));
    const events = await until('both events', async () => (await about()).length >= 2 && about());
    expect(events).toEqual([
      expect.objectContaining({ kind: 'Job', name: 'once', reason: 'Injected' }),
      expect.objectContaining({ kind: 'ReplicaSet', name: set!.metadata.name, reason: 'Injected' }),
    ]);
  });

  it('say so on the pod itself, where it belongs to nothing', async () => {
    const labels = { app: 'lone' };
    const spec = { terminationGracePeriodSeconds: 1, containers: [script('main', idle)] };
    await cluster.client.create(resources.pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { generateName: 'lone-', namespace, labels },
      spec,
    });
    const [pod] = await cluster.ready(namespace, 'lone');
    const about = async () => (await told()).filter(({ name }) => name === pod!.metadata.name);
    await until('the event', async () => (await about()).length > 0);
    expect(await about()).toMatchObject([{ kind: 'Pod', reason: 'Injected' }]);
  });

  it('say why a pod has no proxy where its namespace asks for one', async () => {
    const [workload] = deployment(namespace, 'opted-out', { containers: [script('main', idle)] });
    workload!.spec.template.metadata.annotations = { [injectAnnotation]: 'disabled' };
    const listens = { ...script('main', idle), ports: [{ containerPort: 15008 }] };
    await cluster.apply(workload!, ...deployment(namespace, 'taken', { containers: [listens] }));
    await cluster.ready(namespace, 'opted-out');
    await cluster.ready(namespace, 'taken');
    const about = async (app: string, kind: string) =>
      (await told()).filter((event) => event.kind === kind && event.name.startsWith(`${app}-`));
    await until(
      'an event each',
      async () => (await about('opted-out', 'ReplicaSet')).length + (await about('taken', 'ReplicaSet')).length === 2,
    );
    expect(await about('opted-out', 'ReplicaSet')).toMatchObject([
      { reason: 'InjectionSkipped', message: expect.stringContaining('annotation-disabled') },
    ]);
    expect(await about('taken', 'ReplicaSet')).toMatchObject([
      { reason: 'InjectionSkipped', message: expect.stringMatching(/port-conflict.*port 15008/) },
    ]);
  });
});
