import { generateKeyPairSync } from 'node:crypto';
import https from 'node:https';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { makeCertificate } from '../../protocol/x509.ts';
import { ApiServer } from './server.ts';

let server: ApiServer;
let port: number;
beforeEach(async () => {
  server = new ApiServer({
    stateFile: ':memory:',
    servicePrefix: '10.96',
    fixedServices: { 'default/kubernetes': '10.96.0.1' },
    names: { dns: ['localhost'], ips: ['127.0.0.1'] },
    log: (message) => process.stderr.write(`${message}\n`),
  });
  await server.bootstrap();
  port = (await server.listen({ host: '127.0.0.1', port: 0 })).port;
});
afterEach(() => server.close());

/** One call; the body as its JSON lines. */
function call(
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<{ status: number; lines: Json[] }> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        ca: server.root,
        headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': 'application/json', ...headers },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk));
        response.on('end', () => {
          const lines = text.split('\n').filter(Boolean);
          resolve({ status: response.statusCode ?? 0, lines: lines.map((line) => JSON.parse(line) as Json) });
        });
      },
    );
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

const maps = '/api/v1/namespaces/default/configmaps';
const map = (name: string, labels: Record<string, string> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default', labels },
});

test('a watch resumes after the version it names and sees what leaves its selection as deleted', async () => {
  const first = await server.objects.create(resources.configMaps, map('a', { app: 'x' }));
  const from = first.metadata.resourceVersion;
  const second = await server.objects.create(resources.configMaps, map('b', { app: 'x' }));
  await server.objects.create(resources.configMaps, map('c', { app: 'y' }));
  await server.objects.update(resources.configMaps, {
    ...second,
    metadata: { ...second.metadata, labels: { app: 'y' } },
  });
  const { lines } = await call(
    'GET',
    `${maps}?watch=true&resourceVersion=${from}&labelSelector=app%3Dx&timeoutSeconds=1`,
  );
  expect(lines.map((event) => `${event.type} ${event.object.metadata.name}`)).toEqual(['ADDED b', 'DELETED b']);
});

test('a watch from a version that is gone gets 410', async () => {
  const old = (await call('GET', maps)).lines[0].metadata.resourceVersion;
  for (let n = 0; n < 5100; n++)
    await server.objects.updateStatus(resources.namespaces, 'default', undefined, () => ({ phase: 'Active', n }));
  const { status, lines } = await call('GET', `${maps}?watch=true&resourceVersion=${old}`);
  expect([status, lines[0].reason]).toEqual([410, 'Expired']);
});

test('a watch from a version of another state gets 410, and one from no version at all 400', async () => {
  const watch = (version: string) => call('GET', `${maps}?watch=true&timeoutSeconds=1&resourceVersion=${version}`);
  expect((await watch('999999')).status).toBe(410);
  expect((await watch('abc')).status).toBe(400);
});

test('a list as a watch ends its first part with a bookmark that says so', async () => {
  await server.objects.create(resources.configMaps, map('a'));
  const query = 'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1';
  const { lines } = await call('GET', `${maps}?${query}&resourceVersionMatch=NotOlderThan`);
  expect(lines.map((event) => event.type)).toEqual(['ADDED', 'BOOKMARK']);
  expect(lines[1].object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
});

test('a write with an old version is a conflict; a stranger is not let in', async () => {
  const first = await server.objects.create(resources.configMaps, map('a'));
  const changed = { ...map('a'), data: { x: '1' } };
  expect((await call('PUT', `${maps}/a`, changed)).status).toBe(200);
  const late = { ...first, data: { x: '2' } };
  const { status, lines } = await call('PUT', `${maps}/a`, late);
  expect([status, lines[0].reason]).toEqual([409, 'Conflict']);
  expect((await call('GET', maps, undefined, { authorization: 'Bearer nobody' })).status).toBe(401);
});

test('a dry run answers as the real one would and stores nothing', async () => {
  const { status, lines } = await call('POST', `${maps}?dryRun=All`, map('dry'));
  expect([status, lines[0].metadata.name]).toEqual([201, 'dry']);
  expect(server.objects.get(resources.configMaps, 'dry', 'default')).toBeUndefined();
});

test('a token of a service account is its user until the account is gone', async () => {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'default' } };
  await server.objects.create(resources.serviceAccounts, account);
  const { token } = await server.issueToken({
    namespace: 'default',
    serviceAccount: 'web',
    audiences: ['mesh'],
    seconds: 600,
  });
  const review = async (audiences: string[]) =>
    (
      await call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences },
      })
    ).lines[0].status;
  expect((await review(['mesh'])).user.username).toBe('system:serviceaccount:default:web');
  expect((await review(['other'])).authenticated).toBe(false);
  await server.objects.delete(resources.serviceAccounts, 'web', 'default');
  expect((await review(['mesh'])).authenticated).toBe(false);
});

test('protobuf that holds unknown fields is refused, not half read', async () => {
  // ConfigMap with field 9 set.
  const type = Buffer.from('\n\x0f\n\x02v1\x12\x09ConfigMap', 'latin1');
  const raw = Buffer.from('\x12\x03\x4a\x01x', 'latin1');
  const { decodeProtobuf } = await import('./protobuf.ts');
  expect(() => decodeProtobuf(Buffer.concat([Buffer.from('k8s\0'), type, raw]))).toThrow('field 9 of ConfigMap');
});

test.each(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'])('a %s without a spec is invalid', async (kind) => {
  const path = `/apis/apps/v1/namespaces/default/${kind.toLowerCase()}s`;
  const { status, lines } = await call('POST', path, { apiVersion: 'apps/v1', kind, metadata: { name: 'x' } });
  expect([status, lines[0].reason]).toEqual([422, 'Invalid']);
});

/** A webhook on loopback behind a service of that address, answering as `answer` says. */
async function webhook(
  answer: (review: Json) => object | undefined,
  failurePolicy: string,
  options: { kind?: string; operations?: string[]; timeoutSeconds?: number } = {},
): Promise<() => void> {
  const { kind = 'MutatingWebhookConfiguration', operations = ['CREATE'], timeoutSeconds = 10 } = options;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const certificate = makeCertificate({
    subject: 'hook',
    publicKey,
    issuer: { subject: 'hook', publicKey, privateKey },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 600_000),
    names: { dns: ['hook.default.svc'], ips: [] },
  });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const hook = https.createServer({ key, cert: certificate }, (request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk));
    request.on('end', () => {
      const review = JSON.parse(text) as Json;
      const given = answer(review);
      if (given) response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, ...given } }));
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  const address = hook.address() as { port: number };
  await server.objects.create(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'hook', namespace: 'default' },
    spec: { clusterIP: '127.0.0.1', ports: [{ port: address.port }] },
  });
  await call('POST', `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind,
    metadata: { name: 'hook' },
    webhooks: [
      {
        name: 'hook.mesh.dev',
        failurePolicy,
        timeoutSeconds,
        clientConfig: {
          service: { name: 'hook', namespace: 'default', port: address.port, path: '/mutate' },
          caBundle: Buffer.from(certificate).toString('base64'),
        },
        rules: [{ operations, apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
        objectSelector: { matchExpressions: [{ key: 'skip', operator: 'DoesNotExist' }] },
      },
    ],
  });
  return () => {
    hook.close();
    hook.closeAllConnections();
  };
}

test('a webhook changes what it selects, by a JSON patch', async () => {
  const patch = Buffer.from(JSON.stringify([{ op: 'add', path: '/data', value: { by: 'hook' } }])).toString('base64');
  const close = await webhook(() => ({ allowed: true, patchType: 'JSONPatch', patch }), 'Fail');
  expect((await call('POST', maps, map('a'))).lines[0].data).toEqual({ by: 'hook' });
  expect((await call('POST', maps, map('b', { skip: 'yes' }))).lines[0].data).toBeUndefined();
  close();
});

test('a webhook that refuses, and one that is gone under failurePolicy Fail, stop the object', async () => {
  const close = await webhook(() => ({ allowed: false, status: { message: 'no maps today' } }), 'Fail');
  const refused = await call('POST', maps, map('a'));
  expect([refused.status, refused.lines[0].message]).toEqual([403, expect.stringContaining('no maps today')]);
  close();
  const failed = await call('POST', maps, map('a'));
  expect([failed.status, failed.lines[0].message]).toEqual([500, expect.stringContaining('failed calling webhook')]);
  expect(server.objects.get(resources.configMaps, 'a', 'default')).toBeUndefined();
});

const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'birds.example.org' },
  spec: {
    group: 'example.org',
    scope: 'Namespaced',
    names: { plural: 'birds', kind: 'Bird', shortNames: ['bd'] },
    versions: ['v1', 'v2'].map((name) => ({
      name,
      served: true,
      storage: name === 'v1',
      subresources: { status: {}, scale: { specReplicasPath: '.spec.count', statusReplicasPath: '.status.count' } },
      additionalPrinterColumns: [{ name: 'Count', type: 'integer', jsonPath: '.spec.count' }],
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: {
              type: 'object',
              required: ['count'],
              properties: { count: { type: 'integer', maximum: 5 }, color: { type: 'string', default: 'red' } },
            },
            status: { type: 'object', properties: { count: { type: 'integer' } } },
          },
        },
      },
    })),
  },
};
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const birds = '/apis/example.org/v1/namespaces/default/birds';
const bird = (spec: object) => ({ apiVersion: 'example.org/v1', kind: 'Bird', metadata: { name: 'a' }, spec });
const merge = { 'content-type': 'application/merge-patch+json' };

test('a definition is established at once; its objects are checked, completed, scaled and shown as it says', async () => {
  const made = (await call('POST', definitions, definition)).lines[0];
  expect(made.status.conditions.map((one: Json) => `${one.type} ${one.status}`)).toEqual([
    'NamesAccepted True',
    'Established True',
  ]);
  const wrong = await call('POST', birds, bird({ count: 'many' }));
  expect([wrong.status, wrong.lines[0].details.causes[0].field]).toEqual([422, 'spec.count']);
  const unknown = await call('POST', `${birds}?fieldValidation=Strict`, bird({ count: 1, typo: 1 }));
  expect([unknown.status, unknown.lines[0].message]).toEqual([400, 'strict decoding error: unknown field "spec.typo"']);
  expect((await call('POST', birds, bird({ count: 1, typo: 1 }))).lines[0].spec).toEqual({ count: 1, color: 'red' });

  await call('PATCH', `${birds}/a`, { status: { count: 3 } }, merge);
  expect((await call('GET', `${birds}/a`)).lines[0].status).toBeUndefined();
  await call('PATCH', `${birds}/a/status`, { status: { count: 3 }, spec: { count: 5 } }, merge);
  const stored = (await call('GET', `${birds}/a`)).lines[0];
  expect([stored.status, stored.spec.count, stored.metadata.generation]).toEqual([{ count: 3 }, 1, 1]);
  await call('PATCH', `${birds}/a/scale`, { spec: { replicas: 4 } }, merge);
  const scale = (await call('GET', `${birds}/a/scale`)).lines[0];
  expect([scale.spec.replicas, scale.status.replicas]).toEqual([4, 3]);

  const table = await call('GET', birds, undefined, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
  expect(table.lines[0].rows[0].cells).toEqual(['a', 4]);
  const other = (await call('GET', `${birds.replace('v1', 'v2')}/a`)).lines[0];
  expect(other.apiVersion).toBe('example.org/v2');
  await call('DELETE', `${definitions}/birds.example.org`);
  expect((await call('GET', birds)).status).toBe(404);
  await call('POST', definitions, definition);
  expect((await call('GET', birds)).lines[0].items).toEqual([]);
});

test('a list comes in the order of its names, in as many parts as asked for', async () => {
  for (const name of ['c', 'a', 'b']) await server.objects.create(resources.configMaps, map(name));
  const first = (await call('GET', `${maps}?limit=2`)).lines[0];
  expect(first.items.map((one: Json) => one.metadata.name)).toEqual(['a', 'b']);
  expect(first.metadata.remainingItemCount).toBe(1);
  const rest = (await call('GET', `${maps}?limit=2&continue=${first.metadata.continue}`)).lines[0];
  expect([rest.items.map((one: Json) => one.metadata.name), rest.metadata.continue]).toEqual([['c'], undefined]);
  expect((await call('GET', `${maps}?limit=2&continue=nonsense`)).status).toBe(400);
});

test('an orphaning delete leaves what the object owned; a foreground one waits for it', async () => {
  const owner = await server.objects.create(resources.configMaps, map('owner'));
  const reference = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    name: 'owner',
    uid: owner.metadata.uid!,
    blockOwnerDeletion: true,
  };
  const owned = map('owned');
  owned.metadata.ownerReferences = [reference];
  await server.objects.create(resources.configMaps, owned);
  await call('DELETE', `${maps}/owner?propagationPolicy=Foreground`);
  const waiting = server.objects.get(resources.configMaps, 'owner', 'default')!;
  expect([waiting.metadata.finalizers, waiting.metadata.deletionTimestamp]).toEqual([
    ['foregroundDeletion'],
    expect.any(String),
  ]);
  await call('DELETE', `${maps}/owner?propagationPolicy=Orphan`);
  expect(server.objects.get(resources.configMaps, 'owned', 'default')!.metadata.ownerReferences).toEqual([]);
});

test('an eviction is refused while a budget allows none', async () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default', labels: { app: 'x' } },
    spec: { containers: [{ name: 'a', image: 'b' }] },
  };
  await server.objects.create(resources.pods, pod);
  await server.objects.updateStatus(resources.pods, 'p', 'default', () => ({
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
  }));
  await server.objects.create(resources.podDisruptionBudgets, {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'x', namespace: 'default' },
    spec: { minAvailable: 1, selector: { matchLabels: { app: 'x' } } },
  });
  const evict = () =>
    call('POST', '/api/v1/namespaces/default/pods/p/eviction', {
      kind: 'Eviction',
      apiVersion: 'policy/v1',
      metadata: { name: 'p' },
    });
  const refused = await evict();
  expect([refused.status, refused.lines[0].reason]).toEqual([429, 'TooManyRequests']);
  await server.objects.updateStatus(resources.podDisruptionBudgets, 'x', 'default', () => ({ disruptionsAllowed: 1 }));
  expect((await evict()).status).toBe(201);
  expect(server.objects.get(resources.podDisruptionBudgets, 'x', 'default')!.status.disruptionsAllowed).toBe(0);
});

test('a webhook that does not answer in time stops the object or not, as its policy says', async () => {
  const close = await webhook(() => undefined, 'Fail', { timeoutSeconds: 1 });
  const failed = await call('POST', maps, map('a'));
  expect([failed.status, failed.lines[0].message]).toEqual([
    500,
    'Internal error occurred: failed calling webhook "hook.mesh.dev": no answer within 1 s',
  ]);
  const patch = JSON.stringify([{ op: 'replace', path: '/webhooks/0/failurePolicy', value: 'Ignore' }]);
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook';
  await call('PATCH', path, JSON.parse(patch) as object, { 'content-type': 'application/json-patch+json' });
  expect((await call('POST', maps, map('a'))).status).toBe(201);
  close();
});

test('a validating webhook sees changes and deletions with what was there before, and can refuse them', async () => {
  const seen: string[] = [];
  const judge = ({ request }: Json) => {
    const { operation, object, oldObject } = request;
    seen.push(`${operation} ${oldObject?.data?.x ?? '-'} ${object?.data?.x ?? '-'}`);
    return { allowed: object?.data?.x !== 'bad', status: { message: 'bad is bad', code: 422, reason: 'Invalid' } };
  };
  const close = await webhook(judge, 'Fail', {
    kind: 'ValidatingWebhookConfiguration',
    operations: ['CREATE', 'UPDATE', 'DELETE'],
  });
  await call('POST', maps, { ...map('a'), data: { x: '1' } });
  const refused = await call('PATCH', `${maps}/a`, { data: { x: 'bad' } }, merge);
  expect([refused.status, refused.lines[0].message]).toEqual([
    422,
    'admission webhook "hook.mesh.dev" denied the request: bad is bad',
  ]);
  await call('PATCH', `${maps}/a`, { data: { x: '2' } }, merge);
  await call('DELETE', `${maps}/a`);
  expect(seen).toEqual(['CREATE - 1', 'UPDATE 1 bad', 'UPDATE 1 2', 'DELETE 2 -']);
  expect(server.objects.get(resources.configMaps, 'a', 'default')).toBeUndefined();
  close();
});

test('the roles every cluster has can be bound, and a refusal has the words of Kubernetes', async () => {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'default' } };
  await server.objects.create(resources.serviceAccounts, account);
  const as = { 'impersonate-user': 'system:serviceaccount:default:web' };
  const refused = await call('GET', `${maps}/a`, undefined, as);
  expect([refused.status, refused.lines[0].message]).toEqual([
    403,
    'configmaps "a" is forbidden: User "system:serviceaccount:default:web" cannot get resource "configmaps" in API group "" in the namespace "default"',
  ]);
  await server.objects.create(resources.roleBindings, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'viewers', namespace: 'default' },
    subjects: [{ kind: 'ServiceAccount', name: 'web', namespace: 'default' }],
    roleRef: { kind: 'ClusterRole', name: 'view' },
  });
  expect((await call('GET', maps, undefined, as)).status).toBe(200);
  expect((await call('GET', '/api/v1/namespaces/default/secrets', undefined, as)).status).toBe(403);
  expect((await call('POST', maps, map('b'), as)).status).toBe(403);
  expect((await call('GET', '/logs', undefined, as)).status).toBe(403);
  await server.objects.create(resources.clusterRoleBindings, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'owners' },
    subjects: [{ kind: 'ServiceAccount', name: 'web', namespace: 'default' }],
    roleRef: { kind: 'ClusterRole', name: 'cluster-admin' },
  });
  expect((await call('POST', maps, map('b'), as)).status).toBe(201);
  expect((await call('GET', '/logs', undefined, as)).status).toBe(404);
});
