/** What clients in the mesh notice while Kubernetes' API server is away for two minutes: nothing. */
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { isMeshed, TestCluster } from '../support/cluster.ts';
import { ClusterLoad, hello, replaced, url } from '../support/cluster-load.ts';
import { until } from '../support/mesh.ts';

const namespace = 'mesh-test-api-server';
const rate = 300;
const awayMs = 120_000;
const { MESH_TEST_API_STOP: stop, MESH_TEST_API_START: start } = process.env;
const unable = stop && start ? undefined : 'MESH_TEST_API_STOP and MESH_TEST_API_START are not set';
if (unable) process.stderr.write(`the API server away: skipped: ${unable}\n`);

describe.skipIf(unable)(`the API server is away for ${awayMs / 1000} s`, () => {
  let cluster: TestCluster;
  let load: ClusterLoad;
  beforeAll(async () => {
    cluster = await TestCluster.connect();
    await cluster.install();
    await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
    const services = { web: 3, idle: 2, never: 2 };
    for (const [name, replicas] of Object.entries(services)) await cluster.apply(...hello(namespace, name, replicas));
    load = await ClusterLoad.start(cluster, namespace);
    for (const [name, replicas] of Object.entries(services))
      expect((await cluster.ready(namespace, name, replicas)).every(isMeshed)).toBe(true);
  });
  afterAll(async () => {
    await cluster?.run(['uninstall', '--yes', '--force']);
    await cluster?.close();
  });

  /** A service without a selector; its endpoint is this pod of web. */
  async function pointTo({ status }: KubeObject): Promise<void> {
    const metadata = { name: 'pointer', namespace, labels: { 'kubernetes.io/service-name': 'pointer' } };
    const endpoints = [{ addresses: [status.podIP], conditions: { ready: true } }];
    const ports = [{ name: 'http', port: 8000 }];
    await cluster.apply(
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'pointer', namespace }, spec: { ports } },
      { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata, addressType: 'IPv4', ports, endpoints },
    );
  }
  const answering = async () => (await load.ask(`${url('pointer')}name`)).body;

  it('no request fails, idle services and one never dialled answer, and what changes afterwards is known at once', async () => {
    expect(await load.ask(url('idle'))).toMatchObject({ status: 200, body: 'hello' });
    const before = await cluster.ready(namespace, 'web', 3);
    await pointTo(before[0]!);
    await until('the proxy knows the endpoint', async () => (await answering()) === before[0]!.metadata.name);
    for (const at of [awayMs / 2, awayMs - 5_000])
      for (const service of ['idle', 'never']) await load.later(url(service), at);
    await load.unnoticed(url('web'), rate, async () => {
      await execa('sh', ['-c', stop!], { stdio: 'inherit' });
      try {
        await expect(cluster.client.version()).rejects.toThrow();
        await wait(awayMs);
      } finally {
        await execa('sh', ['-c', start!], { stdio: 'inherit' });
      }
      await until('the API server answers', () => cluster.client.version().then(Boolean, () => false), 60);
      const back = performance.now();
      await pointTo(before[1]!);
      await until(
        'the proxy knows the other endpoint',
        async () => (await answering()) === before[1]!.metadata.name,
        10,
      );
      process.stderr.write(
        `a change was known ${Math.round(performance.now() - back)} ms after the API server's return\n`,
      );
      // Kubernetes' own parts take up to a minute and a half, and hold every pod for lost until then.
      const annotations = { turn: 'second' };
      await cluster.client.patch(resources.deployments, 'web', namespace, {
        spec: { template: { metadata: { annotations } } },
      });
      await replaced(cluster, namespace, 'web', before, 180);
    });
    const answers = await load.answers();
    expect(answers.map(({ status, body }) => `${status} ${body}`)).toEqual(Array(4).fill('200 hello'));
    // Kubernetes takes the node for lost until its kubelet has spoken: it reaches no webhook of a pod there until then.
    const { exitCode, stdout } = await cluster.run(['check', '--fix', '--yes']);
    expect(stdout.trim().split('\n').at(-1)).toBe('Status check results are ✓');
    expect(exitCode).toBe(0);
    expect((await cluster.ready(namespace, 'web', 3)).every(isMeshed)).toBe(true);
  }, 420_000);
});
