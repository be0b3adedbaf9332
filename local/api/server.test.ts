import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json } from '../../kube/types.ts';
import { map, maps, useServer } from './test-server.ts';

const server = useServer();
const { call } = server;

test('a watch resumes after the version it names and sees what leaves its selection as deleted', async () => {
  const first = await server.api.objects.create(resources.configMaps, map('a', { app: 'x' }));
  const from = first.metadata.resourceVersion;
  const second = await server.api.objects.create(resources.configMaps, map('b', { app: 'x' }));
  await server.api.objects.create(resources.configMaps, map('c', { app: 'y' }));
  await server.api.objects.update(resources.configMaps, {
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
    await server.api.objects.updateStatus(resources.namespaces, 'default', undefined, () => ({ phase: 'Active', n }));
  const { status, lines } = await call('GET', `${maps}?watch=true&resourceVersion=${old}`);
  expect([status, lines[0].reason]).toEqual([410, 'Expired']);
});

test('a watch from a version of another state gets 410, and one from no version at all 400', async () => {
  const watch = (version: string) => call('GET', `${maps}?watch=true&timeoutSeconds=1&resourceVersion=${version}`);
  expect((await watch('999999')).status).toBe(410);
  expect((await watch('abc')).status).toBe(400);
});

test('a list as a watch ends its first part with a bookmark that says so', async () => {
  await server.api.objects.create(resources.configMaps, map('a'));
  const query = 'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1';
  const { lines } = await call('GET', `${maps}?${query}&resourceVersionMatch=NotOlderThan`);
  expect(lines.map((event) => event.type)).toEqual(['ADDED', 'BOOKMARK']);
  expect(lines[1].object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
});

test('a write with an old version is a conflict; a stranger is not let in', async () => {
  const first = await server.api.objects.create(resources.configMaps, map('a'));
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
  expect(server.api.objects.get(resources.configMaps, 'dry', 'default')).toBeUndefined();
});

test('a token of a service account is its user until the account is gone', async () => {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'default' } };
  await server.api.objects.create(resources.serviceAccounts, account);
  const { token } = await server.api.issueToken({
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
  await server.api.objects.delete(resources.serviceAccounts, 'web', 'default');
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

test('a list comes in the order of its names, in as many parts as asked for', async () => {
  for (const name of ['c', 'a', 'b']) await server.api.objects.create(resources.configMaps, map(name));
  const first = (await call('GET', `${maps}?limit=2`)).lines[0];
  expect(first.items.map((one: Json) => one.metadata.name)).toEqual(['a', 'b']);
  expect(first.metadata.remainingItemCount).toBe(1);
  const rest = (await call('GET', `${maps}?limit=2&continue=${first.metadata.continue}`)).lines[0];
  expect([rest.items.map((one: Json) => one.metadata.name), rest.metadata.continue]).toEqual([['c'], undefined]);
  expect((await call('GET', `${maps}?limit=2&continue=nonsense`)).status).toBe(400);
});

test('an orphaning delete leaves what the object owned; a foreground one waits for it', async () => {
  const owner = await server.api.objects.create(resources.configMaps, map('owner'));
  const reference = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    name: 'owner',
    uid: owner.metadata.uid!,
    blockOwnerDeletion: true,
  };
  const owned = map('owned');
  owned.metadata.ownerReferences = [reference];
  await server.api.objects.create(resources.configMaps, owned);
  await call('DELETE', `${maps}/owner?propagationPolicy=Foreground`);
  const waiting = server.api.objects.get(resources.configMaps, 'owner', 'default')!;
  expect([waiting.metadata.finalizers, waiting.metadata.deletionTimestamp]).toEqual([
    ['foregroundDeletion'],
    expect.any(String),
  ]);
  await call('DELETE', `${maps}/owner?propagationPolicy=Orphan`);
  expect(server.api.objects.get(resources.configMaps, 'owned', 'default')!.metadata.ownerReferences).toEqual([]);
});

test('an eviction is refused while a budget allows none', async () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default', labels: { app: 'x' } },
    spec: { containers: [{ name: 'a', image: 'b' }] },
  };
  await server.api.objects.create(resources.pods, pod);
  await server.api.objects.updateStatus(resources.pods, 'p', 'default', () => ({
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
  }));
  await server.api.objects.create(resources.podDisruptionBudgets, {
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
  await server.api.objects.updateStatus(resources.podDisruptionBudgets, 'x', 'default', () => ({
    disruptionsAllowed: 1,
  }));
  expect((await evict()).status).toBe(201);
  expect(server.api.objects.get(resources.podDisruptionBudgets, 'x', 'default')!.status.disruptionsAllowed).toBe(0);
});

test('the roles every cluster has can be bound, and a refusal has the words of Kubernetes', async () => {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'default' } };
  await server.api.objects.create(resources.serviceAccounts, account);
  const as = { 'impersonate-user': 'system:serviceaccount:default:web' };
  const refused = await call('GET', `${maps}/a`, undefined, as);
  expect([refused.status, refused.lines[0].message]).toEqual([
    403,
    'configmaps "a" is forbidden: User "system:serviceaccount:default:web" cannot get resource "configmaps" in API group "" in the namespace "default"',
  ]);
  await server.api.objects.create(resources.roleBindings, {
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
  await server.api.objects.create(resources.clusterRoleBindings, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'owners' },
    subjects: [{ kind: 'ServiceAccount', name: 'web', namespace: 'default' }],
    roleRef: { kind: 'ClusterRole', name: 'cluster-admin' },
  });
  expect((await call('POST', maps, map('b'), as)).status).toBe(201);
  expect((await call('GET', '/logs', undefined, as)).status).toBe(404);
});
