/** Category `pre-install`: this machine can run the local mesh, or the cluster grants what an install needs. */
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { localPreflight } from '../../local/launch.ts';
import { controlNamespace } from '../../protocol/names.ts';
import { type Category, type Check, need } from './check.ts';

/** One check for each thing this machine must have. */
export async function preInstallLocal(): Promise<Category> {
  const results = await localPreflight();
  return {
    name: 'pre-install',
    checks: results.map(({ ok, message, fix }) => ({
      id: 'local-machine',
      description: message.replace(/\.$/, ''),
      fix: fix ?? '',
      run: async () => {
        need(ok, 'the local mesh cannot run without it');
        return undefined;
      },
    })),
  };
}

/** What an install creates. */
const created = [
  resources.namespaces,
  resources.serviceAccounts,
  resources.clusterRoles,
  resources.clusterRoleBindings,
  resources.roles,
  resources.roleBindings,
  resources.services,
  resources.deployments,
  resources.mutatingWebhooks,
];

async function allowed(kube: KubeClient, verb: string, type: ResourceType): Promise<boolean> {
  const { group, plural: resource, namespaced } = type;
  const review = await kube.create<KubeObject>(resources.selfSubjectAccessReviews, {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    metadata: {},
    spec: { resourceAttributes: { verb, group, resource, ...(namespaced ? { namespace: controlNamespace } : {}) } },
  });
  return review.status?.allowed === true;
}

const canCreate = (type: ResourceType): Check => ({
  id: 'can-create',
  description: `can create and update ${type.plural}`,
  fix: 'Install as a cluster administrator, or ask for this right.',
  run: async (context) => {
    const kube = await context.kube();
    // An install is a server-side apply, which is a patch also where it creates.
    for (const verb of ['create', 'patch']) {
      need(await allowed(kube, verb, type), `the right to ${verb} ${type.plural} is missing`);
    }
    return undefined;
  },
});

export const preInstallCluster: Category = {
  name: 'pre-install',
  needs: ['kubernetes-api'],
  checks: [
    ...created.map(canCreate),
    {
      id: 'namespace-free',
      description: `namespace ${controlNamespace} is not being deleted`,
      fix: `Wait until \`kubectl get namespace ${controlNamespace}\` no longer finds it.`,
      run: async (context) => {
        const namespace = await (await context.kube()).find(resources.namespaces, controlNamespace);
        need(!namespace?.metadata.deletionTimestamp, 'it is still being deleted');
        return undefined;
      },
    },
  ],
};
