import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import packageJson from '../../package.json' with { type: 'json' };
import {
  controlName,
  controlNamespace,
  identitySecret,
  injectAnnotation,
  proxyVersionAnnotation,
} from '../../protocol/names.ts';
import { deployment, isMeshed, script, TestCluster } from '../support/cluster.ts';
import { ClusterLoad } from '../support/cluster-load.ts';
import { isReady, until } from '../support/mesh.ts';

const namespace = 'mesh-test-upgrade';
const { version } = packageJson;
const old = '0.0.9';
const rate = 300;
const url = 'http://server:8080/';

/** Answers 200, or 500 where the flag said so when it started. */
const server = `
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
const broken = readFileSync('/etc/flag/broken', 'utf8') === 'yes';
const server = createServer((request, response) => response.writeHead(broken ? 500 : 200).end()).listen(8080);
process.once('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });`;

let cluster: TestCluster;
let load: ClusterLoad;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install('--control-env', 'MESH_CONTROL_LOG_LEVEL=debug');
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
  await flag('no');
  const mounts = {
    volumeMounts: [{ name: 'flag', mountPath: '/etc/flag' }],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
  };
  const pod = {
    containers: [script('main', server, mounts)],
    volumes: [{ name: 'flag', configMap: { name: 'flag' } }],
  };
  await cluster.apply(...deployment(namespace, 'server', { ...pod, terminationGracePeriodSeconds: 10 }, 8080, 2));
  expect((await cluster.ready(namespace, 'server', 2)).every(isMeshed)).toBe(true);
  load = await ClusterLoad.start(cluster, namespace);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

function flag(broken: string): Promise<void> {
  return cluster.apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'flag', namespace },
    data: { broken },
  });
}

/** Makes the control plane, or the pods of an app, look as an older version left them. */
async function age(app?: string): Promise<void> {
  if (!app) {
    const labels = { 'app.kubernetes.io/version': old };
    const patch = { metadata: { labels }, spec: { template: { metadata: { labels } } } };
    await cluster.client.patch(resources.deployments, controlName, controlNamespace, patch);
    return;
  }
  for (const { metadata } of await cluster.pods(namespace, `app=${app}`)) {
    const annotations = { [proxyVersionAnnotation]: old };
    await cluster.client.patch(resources.pods, metadata.name!, namespace, { metadata: { annotations } });
  }
}

const control = () => cluster.client.get(resources.deployments, controlName, controlNamespace);
const root = async () => (await cluster.client.get(resources.secrets, identitySecret, controlNamespace)).data['ca.crt'];

describe('an upgrade', () => {
  it('rolls the control plane without a failed request, keeps settings and identities, and names old proxies', async () => {
    await age();
    await age('server');
    await until(
      'the older control plane is rolled out',
      async () => {
        const pods = await cluster.pods(controlNamespace);
        return pods.length === 1 && isReady(pods[0]!) && pods[0]!.metadata.labels!['app.kubernetes.io/version'] === old;
      },
      60,
    );
    const identity = await root();
    let output = '';
    await load.unnoticed(url, rate, async () => {
      output = await cluster.mesh(['upgrade']);
    });
    expect(output).toContain(`the control plane runs ${version}, before ${old}`);
    expect(output).toContain(`deployment/server in namespace ${namespace}: 2 pods have another version of the proxy`);
    expect(output).not.toContain('deployment/load');
    expect(await root()).toBe(identity);
    const { spec } = await control();
    expect(spec.template.spec.containers[0].env).toContainEqual({ name: 'MESH_CONTROL_LOG_LEVEL', value: 'debug' });
  });

  it('restarts workloads with old proxies when asked to, and says when none is left', async () => {
    const before = await cluster.pods(namespace, 'app=server');
    await load.unnoticed(url, rate, async () => {
      expect(await cluster.mesh(['upgrade', '--restart-workloads'])).toContain('every proxy has this version');
    });
    const after = await cluster.ready(namespace, 'server', 2);
    const names = new Set(before.map((pod) => pod.metadata.name));
    expect(after.filter((pod) => names.has(pod.metadata.name))).toHaveLength(0);
    for (const pod of after) expect(pod.metadata.annotations![proxyVersionAnnotation]).toBe(version);
  });

  it('stops restarting where a success rate drops', async () => {
    await flag('yes');
    await age('server');
    await load.during(url, rate, async () => {
      await until('ten seconds of success', async () => {
        const { items } = JSON.parse(
          await cluster.mesh(['stat', 'deploy/server', '-n', namespace, '-t', '10s', '-o', 'json']),
        );
        return items[0]?.success === 1;
      });
      const { exitCode, stderr } = await cluster.run(['upgrade', '--restart-workloads']);
      expect(exitCode).toBe(1);
      expect(stderr).toContain('errors#restart-stopped');
      expect(stderr).toMatch(/deployment\/server in namespace mesh-test-upgrade fell from 100\.00% to/);
    });
  });

  it('says that there is nothing to upgrade where the mesh is not installed', async () => {
    await cluster.mesh(['uninstall', '--yes', '--force']);
    const { exitCode, stderr } = await cluster.run(['upgrade']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('errors#mesh-not-installed');
  });
});
