import https from 'node:https';
import { applyPatch } from 'rfc6902';
import { expect, test } from 'vitest';
import { injectPod } from '../../inject/index.ts';
import { resources } from '../../kube/resources.ts';
import type { Json } from '../../kube/types.ts';
import { version } from '../../protocol/version.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { makeOwnCertificate } from '../identity/own-certificate.ts';
import { TrustBundleKeeper } from '../identity/trust-bundle.ts';
import { config, listen, log, makeAuthority, putShop, until } from '../test-parts.ts';
import { UnmeshedReporter } from './unmeshed.ts';
import { keepCaBundle, Webhook } from './webhook.ts';

async function shop() {
  const kube = new FakeKube();
  putShop(kube);
  return { kube, cluster: new Cluster(kube), authority: await makeAuthority(kube) };
}

function post(port: number, ca: string, body: string): Promise<Json> {
  return new Promise((resolve, reject) => {
    const servername = 'mesh-injector.mesh-system.svc';
    const request = https.request(
      { host: '127.0.0.1', port, ca, servername, method: 'POST', agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve(JSON.parse(text)));
      },
    );
    request.on('error', reject).end(body);
  });
}

test('the patch of a review makes of the pod what injection makes of it', async () => {
  const { cluster, authority } = await shop();
  const webhook = new Webhook({ config, cluster, own: makeOwnCertificate(authority, config), log });
  const port = await listen(webhook.server);
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'one', namespace: 'shop' },
    spec: { containers: [{ name: 'app', image: 'app:1' }] },
  };
  const request = { uid: 'u1', namespace: 'shop', object };
  const review = await post(port, authority.trustBundle, JSON.stringify({ request }));
  webhook.server.close();
  expect(review.response).toMatchObject({ uid: 'u1', allowed: true, patchType: 'JSONPatch' });
  const patched = structuredClone(object);
  const errors = applyPatch(patched, JSON.parse(Buffer.from(review.response.patch, 'base64').toString()));
  expect(errors.filter(Boolean)).toEqual([]);
  const expected = injectPod(
    { metadata: object.metadata, spec: object.spec },
    { kind: 'pod', name: 'one', namespace: 'shop' },
    {
      image: config.image,
      version,
      trustDomain: 'cluster.local',
      explicit: false,
      namespaceAnnotations: { 'mesh.dev/inject': 'enabled' },
    },
  );
  if (expected.outcome !== 'injected') throw new Error(expected.reason);
  expect({ metadata: patched.metadata, spec: patched.spec }).toEqual(expected.template);
  expect(JSON.stringify(patched.spec)).toContain('mesh-proxy');
});

test('the webhook configuration is given the roots', async () => {
  const { kube, authority } = await shop();
  expect(await keepCaBundle(kube, authority.trustBundle)).toBe(false);
  kube.put(resources.mutatingWebhooks, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'mesh-injector' },
    webhooks: [{ name: 'inject.mesh.dev', clientConfig: { caBundle: 'b2xk' } }],
  });
  expect(await keepCaBundle(kube, authority.trustBundle)).toBe(true);
  const stored = await kube.get(resources.mutatingWebhooks, 'mesh-injector');
  expect(Buffer.from(stored.webhooks[0].clientConfig.caBundle, 'base64').toString()).toBe(authority.trustBundle);
});

test('every namespace has the trust bundle, also a new one and one where it was changed', async () => {
  const { kube, cluster, authority } = await shop();
  const keeper = new TrustBundleKeeper(kube, cluster.namespaces, () => authority.trustBundle, log);
  await keeper.start();
  const maps = kube.informer(resources.configMaps);
  const has = (namespace: string) => maps.get(namespace, 'mesh-trust-bundle')?.data['ca.crt'] === authority.trustBundle;
  await until(() => has('shop'), 'the bundle in the namespace that was there');
  kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'new' } });
  await until(() => has('new'), 'the bundle in the new namespace');
  const map = await kube.get(resources.configMaps, 'mesh-trust-bundle', 'shop');
  kube.put(resources.configMaps, { ...map, data: { 'ca.crt': 'other' } });
  await until(() => has('shop'), 'the bundle repaired');
  kube.remove(resources.configMaps, 'mesh-trust-bundle', 'shop');
  await until(() => has('shop'), 'the bundle made again');
  keeper.stop();
});

test('a pod that should be meshed and is not gets one warning', async () => {
  const { kube, cluster } = await shop();
  const reporter = new UnmeshedReporter(kube, cluster, log);
  await reporter.report();
  await reporter.report();
  await new UnmeshedReporter(kube, cluster, log).report();
  const events = await kube.list(resources.events);
  expect(events).toMatchObject([
    { type: 'Warning', reason: 'Unmeshed', involvedObject: { kind: 'Pod', namespace: 'shop', name: 'web-b' } },
  ]);
});
