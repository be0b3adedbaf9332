/** What clients notice while the issuer and the root of the mesh are replaced, and no proxy is restarted: nothing. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { ControlStatus } from '../../protocol/api.ts';
import { controlNamespace, injectAnnotation } from '../../protocol/names.ts';
import { adminPort } from '../../protocol/ports.ts';
import { type Issuer, issuerFrom, makeCertificate } from '../../protocol/x509.ts';
import { isMeshed, TestCluster } from '../support/cluster.ts';
import { ClusterLoad, hello, url } from '../support/cluster-load.ts';
import { until } from '../support/mesh.ts';

const namespace = 'mesh-test-rotation';
const rate = 300;
/** Proxies renew every forty seconds or so. */
const certificateLifetime = 60;

let cluster: TestCluster;
let load: ClusterLoad;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install('--control-env', `MESH_CONTROL_CERTIFICATE_LIFETIME=${certificateLifetime}s`);
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
  await cluster.apply(...hello(namespace, 'web', 2));
  load = await ClusterLoad.start(cluster, namespace);
  expect((await cluster.ready(namespace, 'web', 2)).every(isMeshed)).toBe(true);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

interface Authority {
  issuer: Issuer;
  pem: string;
  key: string;
}

/** A certificate authority of the user's own, by itself or under another. */
function makeAuthority(subject: string, days: number, above?: Issuer): Authority {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = makeCertificate({
    ...{ subject, publicKey: pair.publicKey, issuer: above ?? { subject, ...pair } },
    ...{ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + days * 86_400_000) },
    authority: { pathLength: above ? 0 : 1 },
  });
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { issuer: issuerFrom(new X509Certificate(pem), pair.privateKey), pem, key };
}

/** Hands it to the mesh as docs/identity.md says. */
function bring({ pem, key }: Authority, root: Authority): Promise<void> {
  return cluster.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'mesh-issuer', namespace: controlNamespace },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': pem, 'tls.key': key, 'ca.crt': root.pem },
  });
}

async function controlPod(): Promise<string> {
  return (await cluster.pods(controlNamespace))[0]!.metadata.name!;
}

const status = async () => cluster.ask<ControlStatus>(await controlPod(), '/v1/status');
/** The end of an issuer, in days from now, tells whose it is. */
const issuerDays = async () => Math.round((Date.parse((await status()).issuer.not_after) - Date.now()) / 86_400_000);

/** When the certificate of a pod's proxy ends, in seconds since 1970. */
async function expiry({ metadata }: KubeObject): Promise<number> {
  const metrics = await cluster.get(namespace, metadata.name!, adminPort, '/metrics');
  return Number(/^mesh_certificate_expiry_timestamp_seconds\S* (\S+)$/m.exec(metrics)?.[1]);
}

/** Waits until each proxy has a certificate that was signed from now on. */
async function renewed(pods: KubeObject[]): Promise<void> {
  const signedNow = Date.now() / 1000 + certificateLifetime;
  const has = (pod: KubeObject) =>
    until(`a certificate of ${pod.metadata.name}`, async () => (await expiry(pod)) > signedNow, 60);
  await Promise.all(pods.map(has));
}

const restarts = (pod: KubeObject): number =>
  [...pod.status.containerStatuses, ...pod.status.initContainerStatuses].reduce(
    (sum: number, one: Json) => sum + one.restartCount,
    0,
  );

describe(`at ${rate} requests per second`, () => {
  it('none fails while the root and then the issuer are replaced, and proxies that run learn of both', async () => {
    const pods = await cluster.pods(namespace);
    const root = makeAuthority('Acme root', 300);
    await load.unnoticed(url('web'), rate, async () => {
      const own = await status();
      await bring(makeAuthority('Acme issuer one', 100, root.issuer), root);
      await until('the root is replaced', async () => (await issuerDays()) === 100, 200);
      const now = await status();
      expect(now.root[0]!.subject).toBe('CN=Acme root');
      expect(now.root.map((one) => one.sha256)).toContain(own.root[0]!.sha256);
      await bring(makeAuthority('Acme issuer two', 90, root.issuer), root);
      await until('the next issuer is used at once', async () => (await issuerDays()) === 90);
      await renewed(pods);
      // A pod that knows the new root first is reached by those that began with the old one.
      await cluster.client.patch(resources.deployments, 'web', namespace, { spec: { replicas: 3 } });
      await cluster.ready(namespace, 'web', 3);
    });
    for (const pod of pods) {
      const now = await cluster.client.get(resources.pods, pod.metadata.name!, namespace);
      expect(now.metadata.uid).toBe(pod.metadata.uid);
      expect(restarts(now)).toBe(restarts(pod));
    }
    expect(await cluster.mesh(['check', '--proxy', '-n', namespace])).toContain('results are ✓');
    const { items } = JSON.parse(await cluster.mesh(['stat', 'deploy/web', '-n', namespace, '-o', 'json']));
    expect(items).toMatchObject([{ success: 1, pods: { meshed: 3, total: 3 } }]);
    expect(items[0].secured).toBeGreaterThan(0.9);
  }, 420_000);
});
