import https from 'node:https';
import tls from 'node:tls';
import { applyPatch } from 'rfc6902';
import { expect, onTestFinished, test } from 'vitest';
import { injectPod } from '../../inject/index.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { version } from '../../protocol/version.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { makeOwnCertificate } from '../identity/own-certificate.ts';
import { TrustBundleKeeper } from '../identity/trust-bundle.ts';
import { config, listen, log, makeAuthority, pod, putShop, until } from '../test-parts.ts';
import { tellOfLonePods } from './events.ts';
import { UnmeshedReporter, unmeshedPods } from './unmeshed.ts';
import { keepCaBundle, Webhook } from './webhook.ts';

async function shop() {
  const kube = new FakeKube();
  putShop(kube);
  return { kube, cluster: new Cluster(kube), authority: await makeAuthority(kube) };
}

function post(port: number, ca: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const servername = 'mesh-injector.mesh-system.svc';
    const request = https.request(
      { host: '127.0.0.1', port, ca, servername, method: 'POST', agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
      },
    );
    request.on('error', reject).end(body);
  });
}

const podOf = (more: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'Pod',
  spec: { containers: [{ name: 'app', image: 'app:1' }] },
  ...more,
  metadata: { name: 'one', namespace: 'shop', ...more.metadata },
});

async function startWebhook(settings = config) {
  const parts = await shop();
  const own = makeOwnCertificate(parts.authority, config);
  const webhook = new Webhook({ config: settings, kube: parts.kube, cluster: parts.cluster, own, log });
  const port = await listen(webhook.server);
  onTestFinished(() => {
    webhook.server.close();
  });
  const review = async (object: Json, namespace = 'shop', more: Json = {}) => {
    const body = JSON.stringify({ request: { uid: 'u1', namespace, object, ...more } });
    return JSON.parse(await post(port, parts.authority.trustBundle, body)).response;
  };
  return { ...parts, webhook, port, own, review };
}

function patched(object: Json, response: Json): Json {
  const copy = structuredClone(object);
  const errors = applyPatch(copy, JSON.parse(Buffer.from(response.patch, 'base64').toString()));
  expect(errors.filter(Boolean)).toEqual([]);
  return copy;
}

test('the patch of a review makes of the pod what injection makes of it', async () => {
  const { review } = await startWebhook();
  const object = podOf();
  const response = await review(object);
  expect(response).toMatchObject({ uid: 'u1', allowed: true, patchType: 'JSONPatch' });
  const { metadata, spec } = patched(object, response);
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
  expect({ metadata, spec }).toEqual(expected.template);
  expect(JSON.stringify(spec)).toContain('mesh-proxy');
  // Once more, as a webhook after this one may make Kubernetes ask: nothing.
  expect(await review({ ...object, metadata, spec })).toEqual({
    uid: 'u1',
    allowed: true,
    auditAnnotations: { injection: 'already-injected' },
  });
});

const annotated = (annotations: Json, spec?: Json) => podOf({ metadata: { annotations }, ...(spec ? { spec } : {}) });
const containers = [{ name: 'app' }];

test.each([
  ['disabled on the pod', annotated({ 'mesh.dev/inject': 'disabled' }), 'annotation-disabled', undefined],
  ['a host network', podOf({ spec: { hostNetwork: true, containers } }), 'host-network', 'redirect the whole node'],
  ['a word it does not know', annotated({ 'mesh.dev/inject': 'yes' }), 'annotation-absent', '"yes" is not enabled'],
  ['another mesh', podOf({ spec: { containers: [{ name: 'istio-proxy' }] } }), 'foreign-sidecar', 'Istio'],
])('%s: the pod starts as it is, and who asked for a proxy is told', async (_what, object, code, warning) => {
  const { review, webhook } = await startWebhook();
  const response = await review(object);
  expect(response.allowed).toBe(true);
  expect(response.patch).toBeUndefined();
  expect(response.auditAnnotations).toEqual({ injection: code });
  expect(response.warnings?.join()).toEqual(warning && expect.stringContaining(warning));
  expect(webhook.results).toEqual(new Map([[code, 1]]));
});

test('with the CNI plugin no container of the mesh needs a right, and the plugin is told the ports to leave alone', async () => {
  const { review, kube } = await startWebhook({ ...config, cni: true });
  const annotations = { 'mesh.dev/inject': 'enabled', 'config.mesh.dev/skip-outbound-ports': '25, 5432' };
  kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'strict', annotations } });
  const object = annotated({ 'config.mesh.dev/skip-inbound-ports': '9000-9010' });
  const { metadata, spec } = patched(object, await review(object, 'strict'));
  expect(metadata.annotations['mesh.dev/redirect']).toBe('cni;skip-inbound=9000-9010;skip-outbound=25,5432');
  expect(spec.initContainers.map((one: Json) => one.name)).toEqual(['mesh-validate', 'mesh-proxy']);
  const [validate] = spec.initContainers;
  expect(validate.env).toContainEqual({ name: 'MESH_VALIDATE_SKIP_OUTBOUND_PORTS', value: '25, 5432' });
  for (const { securityContext } of spec.initContainers) {
    // What pod security level `restricted` asks of a container.
    expect(securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(securityContext.capabilities.add).toBeUndefined();
  }
  const [validated, proxied] = spec.initContainers.map((one: Json) => one.securityContext.runAsUser);
  expect(validated).not.toBe(proxied);
});

test('what injection did is told once, on what the pod belongs to, and not for a trial', async () => {
  const { review, kube } = await startWebhook();
  const events = async () =>
    (await kube.list(resources.events)).map(({ involvedObject, reason, message, type }) => [
      `${involvedObject.kind} ${involvedObject.name} ${involvedObject.uid}`,
      `${type} ${reason}: ${message}`,
    ]);
  const ofSet = (name: string, spec: Json = {}): Json => {
    const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: `uid-of-${name}`, controller: true };
    const object = podOf({ metadata: { name: `${name}-1`, ownerReferences: [owner] } });
    return { ...object, spec: { ...object.spec, ...spec } };
  };
  await review(ofSet('tried'), 'shop', { dryRun: true });
  await review(podOf());
  expect(await events()).toEqual([]);
  for (let i = 0; i < 2; i++) await review(ofSet('web'));
  await review(ofSet('node', { hostNetwork: true }));
  expect(await events()).toEqual([
    ['ReplicaSet web uid-of-web', expect.stringMatching(/^Normal Injected: the proxy of mesh .* was added/)],
    [
      'ReplicaSet node uid-of-node',
      expect.stringMatching(/^Normal InjectionSkipped: .*\(host-network\): .*hostNetwork/),
    ],
  ]);
});

test('a bad setting is left out and told; the pod is injected', async () => {
  const { review } = await startWebhook();
  const object = annotated({ 'config.mesh.dev/opaque-ports': 'many', 'config.mesh.dev/proxy-log-level': 'debug' });
  const response = await review(object);
  expect(response.warnings).toEqual([expect.stringContaining('"many" is not ports and ranges')]);
  const env = patched(object, response).spec.initContainers[1].env as { name: string; value?: string }[];
  expect(env.find(({ name }) => name === 'MESH_PROXY_LOG_LEVEL')?.value).toBe('debug');
  expect(env.map(({ name }) => name)).not.toContain('MESH_PROXY_OPAQUE_PORTS');
});

test('in a namespace that nobody annotated, a pod is left alone without a word, unless it asks', async () => {
  const { review, kube } = await startWebhook();
  kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'quiet' } });
  const silent = await review(podOf(), 'quiet');
  expect(silent).toEqual({ uid: 'u1', allowed: true, auditAnnotations: { injection: 'annotation-absent' } });
  expect((await review(annotated({ 'mesh.dev/inject': 'enabled' }), 'quiet')).patch).toBeDefined();
});

test('a namespace that has not come by watch yet is asked for', async () => {
  const { authority, cluster, own, kube } = await startWebhook();
  const metadata = { name: 'new', annotations: { 'mesh.dev/inject': 'enabled' } };
  const find = async () => ({ apiVersion: 'v1', kind: 'Namespace', metadata });
  const webhook = new Webhook({
    config,
    kube: { find: find as never, create: kube.create.bind(kube) },
    cluster,
    own,
    log,
  });
  const port = await listen(webhook.server);
  const body = JSON.stringify({ request: { uid: 'u1', namespace: 'new', object: podOf() } });
  expect(JSON.parse(await post(port, authority.trustBundle, body)).response.patch).toBeDefined();
  webhook.server.close();
});

test.each(['hello', '{}', '{"request":{"uid":"u"}}'])(
  'the body %s is answered 400, and the next is served',
  async (body) => {
    const { review, port, authority } = await startWebhook();
    expect(await post(port, authority.trustBundle, body)).not.toContain('allowed');
    expect((await review(podOf())).allowed).toBe(true);
  },
);

test('a renewed certificate is served without a restart, and a burst of pods is answered', async () => {
  const { webhook, port, authority, own, review } = await startWebhook();
  const served = () =>
    new Promise<string>((resolve, reject) => {
      const servername = 'mesh-control.mesh-system.svc';
      const socket = tls.connect({ host: '127.0.0.1', port, ca: authority.trustBundle, servername }, () => {
        resolve(socket.getPeerX509Certificate()!.toString());
        socket.destroy();
      });
      socket.on('error', reject);
    });
  expect(own.cert).toContain(await served());
  const next = makeOwnCertificate(authority, config);
  webhook.renew(next);
  expect(next.cert).toContain(await served());
  const answers = await Promise.all(Array.from({ length: 200 }, () => review(podOf())));
  expect(answers.every((one) => one.patch !== undefined)).toBe(true);
}, 60_000);

test('a connection outlives what API servers keep, and a replica that leaves keeps none', async () => {
  const { webhook, port, authority } = await startWebhook();
  const agent = new https.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const ask = () =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const servername = 'mesh-injector.mesh-system.svc';
      const options = { host: '127.0.0.1', port, ca: authority.trustBundle, servername, method: 'POST', agent };
      const body = JSON.stringify({ request: { uid: 'u1', namespace: 'shop', object: podOf() } });
      const request = https.request(options, (response) => {
        const { statusCode, headers } = response;
        response.resume().on('end', () => {
          const [, seconds] = /timeout=(\d+)/.exec(String(headers['keep-alive'])) ?? [];
          resolve({
            statusCode,
            connection: headers.connection,
            seconds: Number(seconds),
            again: request.reusedSocket,
          });
        });
      });
      request.on('error', reject).end(body);
    });
  const first = await ask();
  expect(first).toMatchObject({ statusCode: 200, connection: 'keep-alive' });
  expect(first.seconds).toBeGreaterThan(90);
  webhook.drain();
  expect(await ask()).toMatchObject({ statusCode: 200, connection: 'close', again: true });
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
  const keeper = new TrustBundleKeeper(
    kube,
    cluster.namespaces,
    () => authority.trustBundle,
    async () => void (await authority.refresh()),
    log,
  );
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

test('a pod that can have no proxy is told why', async () => {
  const { kube, cluster } = await shop();
  const meshless = pod('istio', '10.244.0.8', { meshed: false });
  kube.put(resources.pods, { ...meshless, spec: { ...meshless.spec, containers: [{ name: 'istio-proxy' }] } });
  const found = unmeshedPods(cluster);
  expect(found.map(({ pod: name, reason }) => `${name}: ${reason}`)).toEqual([
    'web-b: namespace shop asks for a proxy, and the pod has none: restart it',
    'istio: namespace shop asks for a proxy that it cannot have: container istio-proxy is a sidecar of Istio',
  ]);
  expect(found.map((one) => one.restart_helps)).toEqual([true, false]);
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

test('a pod that belongs to nothing is told of once, however many replicas start, and not when it is old', async () => {
  const kube = new FakeKube();
  const cluster = new Cluster(kube);
  const at = Date.parse('2026-11-20T12:00:00Z');
  const lone = (name: string, age: number, more: Json = {}): KubeObject => {
    const { metadata, ...rest } = pod(name, '10.244.0.2', more);
    const creationTimestamp = new Date(at - age).toISOString();
    const annotations = { ...metadata.annotations, 'mesh.dev/proxy-version': '1.2.3' };
    return { ...rest, metadata: { ...metadata, annotations, creationTimestamp, ...more.metadata } };
  };
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'uid-of-web', controller: true };
  kube.put(resources.pods, lone('early', 60_000));
  kube.put(resources.pods, lone('old', 3_600_000));
  for (let replica = 0; replica < 2; replica++) tellOfLonePods(kube, cluster, log, () => at);
  let failures = 1;
  kube.beforeWrite = (_, { involvedObject }) => {
    if (involvedObject?.name === 'unlucky' && failures-- > 0) throw new Error('the API server is away');
  };
  kube.put(resources.pods, lone('plain', 0, { meshed: false }));
  kube.put(resources.pods, lone('owned', 0, { metadata: { ownerReferences: [owner] } }));
  for (let change = 0; change < 3; change++) {
    kube.put(resources.pods, lone('unlucky', 0));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const events = await kube.list(resources.events);
  expect(events.map(({ involvedObject: { kind, name }, reason, message }) => [kind, name, reason, message])).toEqual([
    ['Pod', 'early', 'Injected', 'the pod has the proxy of mesh 1.2.3'],
    ['Pod', 'unlucky', 'Injected', 'the pod has the proxy of mesh 1.2.3'],
  ]);
});
