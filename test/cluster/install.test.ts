import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { controlName, controlNamespace, trustBundleConfigMap } from '../../protocol/names.ts';
import { clusterRules, namespaceRules } from '../../templates/rbac.ts';
import { TestCluster } from '../support/cluster.ts';
import { until } from '../support/mesh.ts';

const watched = [
  resources.namespaces,
  resources.pods,
  resources.services,
  resources.deployments,
  resources.replicaSets,
  resources.configMaps,
  resources.secrets,
  resources.serviceAccounts,
  resources.customResourceDefinitions,
  resources.roles,
  resources.roleBindings,
  resources.clusterRoles,
  resources.clusterRoleBindings,
  resources.mutatingWebhooks,
  resources.podDisruptionBudgets,
  resources.networkPolicies,
];

let cluster: TestCluster;
let before: string[];
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.settled();
  before = await cluster.everything(watched);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

const control = () => cluster.client.get(resources.deployments, controlName, controlNamespace);

describe('an install that cannot work', () => {
  it('names every right that the user lacks, and changes nothing', async () => {
    const { exitCode, stderr } = await cluster.run(['install', '--as', 'jane']);
    expect(exitCode).toBe(4);
    expect(stderr).toContain('create clusterroles.rbac.authorization.k8s.io');
    expect(stderr).toContain(`create deployments.apps in namespace ${controlNamespace}`);
    expect(stderr).toContain('errors#forbidden');
    expect(await cluster.everything(watched)).toEqual(before);
  });

  it('says that rights may not be given by who lacks them, and changes nothing', async () => {
    const name = 'mesh-test-installer';
    const metadata = { name };
    await cluster.apply(
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata,
        rules: [
          {
            apiGroups: [
              '',
              'apps',
              'policy',
              'networking.k8s.io',
              'rbac.authorization.k8s.io',
              'admissionregistration.k8s.io',
            ],
            resources: ['*'],
            verbs: ['get', 'create', 'patch'],
          },
        ],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata,
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'jane' }],
      },
    );
    try {
      const { exitCode, stderr } = await until('the role holds', async () => {
        const outcome = await cluster.run(['install', '--as', 'jane']);
        return !outcome.stderr.includes('rights that this user lacks') && outcome;
      });
      expect(exitCode).toBe(4);
      expect(stderr).toContain('may not give the control plane its rights');
      expect(stderr).toMatch(/tokenreviews/);
    } finally {
      await cluster.client.delete(resources.clusterRoleBindings, name);
      await cluster.client.delete(resources.clusterRoles, name);
    }
    expect(await cluster.everything(watched)).toEqual(before);
  });

  it('says that the API server does not answer', async () => {
    const file = join(import.meta.dirname, 'unreachable.kubeconfig');
    const { exitCode, stderr } = await cluster.run(['install', '--kubeconfig', file]);
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(/"nowhere".*127\.0\.0\.1:1.*connection refused/);
  });

  it('says what a broken image waits for, and a second try succeeds', async () => {
    const { exitCode, stderr } = await cluster.run(['install', '--image', '127.0.0.1:1/nothing:1', '--wait', '6s']);
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/(ErrImagePull|ImagePullBackOff).*127\.0\.0\.1:1\/nothing:1/);
    expect(stderr).toContain('errors#control-timeout');
    expect(await cluster.install()).toContain('is installed');
    expect((await control()).status.readyReplicas).toBe(1);
  });

  it('says why the control plane crashes, with its last line', async () => {
    const { exitCode, stderr } = await cluster.run([
      'install',
      '--control-env',
      'MESH_CONTROL_LOG_LEVEL=loud',
      '--wait',
      '8s',
    ]);
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/exit (code )?1\b.*MESH_CONTROL_LOG_LEVEL: "loud"/);
    // The replica before it has gone on serving.
    expect((await control()).status.readyReplicas).toBe(1);
    expect(await cluster.install()).toContain('is installed');
  });
});

describe('an installed control plane', () => {
  it('is what the checks accept', async () => {
    expect(await cluster.mesh(['check'])).toContain('results are ✓');
  });

  it('is left alone by a second install', async () => {
    const { generation } = (await control()).metadata;
    expect(await cluster.install()).toContain('already installed');
    expect((await control()).metadata.generation).toBe(generation);
  });

  it('is the same that `install -o yaml` prints', async () => {
    const objects = parseAllDocuments(await cluster.install('-o', 'yaml')).map((one) => one.toJS() as KubeObject);
    expect(objects.length).toBeGreaterThan(8);
    for (const object of objects) {
      const { apiVersion, kind, metadata } = object;
      const type = await cluster.client.resolve(apiVersion, kind);
      const stored = await cluster.client.get(type!, metadata.name!, metadata.namespace);
      const applied = await cluster.client.apply(object, { fieldManager: 'mesh', force: true });
      expect(applied.metadata.resourceVersion, `${kind} ${metadata.name}`).toBe(stored.metadata.resourceVersion);
    }
  });

  it('runs with no privilege', async () => {
    const [pod] = await cluster.pods(controlNamespace);
    expect(pod!.spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod!.spec.volumes.filter((volume: Json) => volume.hostPath)).toEqual([]);
    for (const container of pod!.spec.containers) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  });

  it('has three replicas and a budget with --ha, and gives them back without', async () => {
    await cluster.install('--ha');
    expect((await control()).status.readyReplicas).toBe(3);
    const budget = await until('the budget counts them', async () => {
      const found = await cluster.client.get(resources.podDisruptionBudgets, controlName, controlNamespace);
      return found.status?.currentHealthy === 3 && found;
    });
    expect(budget.status.disruptionsAllowed).toBe(1);
    expect(await cluster.mesh(['check'])).toContain('results are ✓');
    await cluster.install();
    expect(await cluster.client.find(resources.podDisruptionBudgets, controlName, controlNamespace)).toBeUndefined();
    await until('one replica is left', async () => (await cluster.pods(controlNamespace)).length === 1);
  });
});

describe("the control plane's account", () => {
  /** Rules as lines `verbs resource.group [names]`, so that lists of them can be compared. */
  const lines = (rules: Json[]): string[] =>
    rules
      .flatMap(({ apiGroups, resources: names, resourceNames, verbs }) =>
        (names ?? []).flatMap((name: string) =>
          apiGroups.map(
            (group: string) =>
              `${[...verbs].sort().join(',')} ${name}${group ? `.${group}` : ''} ${(resourceNames ?? []).join(',')}`,
          ),
        ),
      )
      .sort();

  /** What the account may do there and an account with no rights of its own may not. */
  async function granted(namespace: string): Promise<string[]> {
    const account = lines(await cluster.rightsOf(controlNamespace, controlName, namespace));
    const everyone = new Set(lines(await cluster.rightsOf('default', 'nobody', namespace)));
    return account.filter((line) => !everyone.has(line));
  }

  it('may do in any namespace what docs/rbac.md says, and nothing else', async () => {
    expect(await granted('default')).toEqual(lines(clusterRules));
  });

  it('may do in its own namespace what docs/rbac.md says, and nothing else', async () => {
    expect(await granted(controlNamespace)).toEqual([...lines(clusterRules), ...lines(namespaceRules)].sort());
  });
});

describe('an uninstall', () => {
  it('says what a namespace that does not go waits for; then install is refused, and a second try succeeds', async () => {
    const blocker: KubeObject = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'blocker', namespace: controlNamespace, finalizers: ['mesh.dev/test'] },
    };
    await cluster.client.create(resources.configMaps, blocker);
    const uninstall = cluster.run(['uninstall', '--yes']);
    await until('the namespace waits for the blocker', async () => {
      const namespace = await cluster.client.find(resources.namespaces, controlNamespace);
      return JSON.stringify(namespace?.status?.conditions ?? []).includes('mesh.dev/test');
    });
    const refused = await cluster.run(['install']);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('errors#namespace-terminating');
    expect(refused.stderr).toContain('mesh.dev/test');
    await cluster.client.patch(resources.configMaps, 'blocker', controlNamespace, { metadata: { finalizers: null } });
    const { exitCode, stderr } = await uninstall;
    expect(exitCode).toBe(0);
    expect(stderr).toContain('mesh.dev/test');
    expect(await cluster.install()).toContain('is installed');
  });

  it('leaves the cluster as it was before', async () => {
    const bundles = await cluster.client.list(resources.configMaps, {
      fieldSelector: `metadata.name=${trustBundleConfigMap}`,
    });
    expect(bundles.length).toBeGreaterThan(2);
    expect(await cluster.mesh(['uninstall', '--yes'])).toContain('mesh is removed');
    expect(await cluster.everything(watched)).toEqual(before);
    expect(await cluster.mesh(['uninstall', '--yes'])).toContain('nothing to remove');
  });
});
