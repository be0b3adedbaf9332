/** What would make an install fail half way, found before anything is changed. */
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';
import { controlNamespace } from '../protocol/names.ts';
import { CliError, exitCode } from './errors.ts';
import { remaining } from './remove-mesh.ts';

/** Native sidecars are on by default from here on. */
const oldestMinor = 29;

/** @throws CliError `namespace-terminating`, `kubernetes-too-old`, `forbidden` */
export async function preflight(kube: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  await refuseOld(kube);
  // Everyone is an administrator of the local mesh.
  const missing = kube.local ? [] : await missingRights(kube, objects);
  if (missing.length > 0) throw forbidden(kube, missing);
  const namespace = await kube.find(resources.namespaces, controlNamespace);
  if (namespace?.metadata.deletionTimestamp) {
    throw new CliError({
      code: 'namespace-terminating',
      message: `Namespace ${controlNamespace} of an earlier install is still being deleted: ${remaining(namespace)}.`,
      fix: `Wait until \`kubectl get namespace ${controlNamespace}\` no longer finds it, then install again.`,
    });
  }
  if (!kube.local) await refuseGrants(kube, objects);
}

async function refuseOld(kube: KubeClient): Promise<void> {
  const { gitVersion } = await kube.version();
  const match = /^v(\d+)\.(\d+)/.exec(gitVersion);
  if (!match || Number(match[1]) > 1 || Number(match[2]) >= oldestMinor) return;
  throw new CliError({
    code: 'kubernetes-too-old',
    message: `"${kube.name}" runs Kubernetes ${gitVersion}; the mesh needs 1.${oldestMinor} or newer, for native sidecars.`,
    fix: 'Upgrade the cluster.',
  });
}

const nameOf = (type: ResourceType): string => (type.group ? `${type.plural}.${type.group}` : type.plural);

/** Rights that applying the objects takes and this user lacks, e.g. `create clusterroles.rbac.authorization.k8s.io`. */
async function missingRights(kube: KubeClient, objects: readonly KubeObject[]): Promise<string[]> {
  const wanted = new Map<string, { type: ResourceType; namespace?: string; verb: string }>();
  for (const { apiVersion, kind, metadata } of objects) {
    const type = await kube.resolve(apiVersion, kind);
    if (!type) continue; // Said by apply, with the server's own words.
    const { namespace } = metadata;
    for (const verb of ['get', 'create', 'patch']) {
      const right = `${verb} ${nameOf(type)}${namespace ? ` in namespace ${namespace}` : ''}`;
      wanted.set(right, { type, verb, ...(namespace ? { namespace } : {}) });
    }
  }
  const answers = await Promise.all(
    [...wanted].map(async ([right, { type, namespace, verb }]) => {
      const review = await kube.create<KubeObject>(resources.selfSubjectAccessReviews, {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        metadata: {},
        spec: {
          resourceAttributes: { verb, group: type.group, resource: type.plural, ...(namespace ? { namespace } : {}) },
        },
      });
      return review.status?.allowed ? [] : [right];
    }),
  );
  return answers.flat();
}

function forbidden(kube: KubeClient, missing: string[]): CliError {
  return new CliError({
    code: 'forbidden',
    message: `Installing in "${kube.name}" takes rights that this user lacks: ${missing.join(', ')}.`,
    fix: 'Install as a cluster administrator, for example with another --context or --as.',
    exit: exitCode.unreachable,
  });
}

/** A role can only be given by who has all its rights: asked of the server by a dry run, since no review tells. */
async function refuseGrants(kube: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  for (const object of objects.filter((one) => one.kind === 'ClusterRole')) {
    try {
      await kube.apply(object, { fieldManager: 'mesh', force: true, dryRun: true });
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 403) throw error;
      throw new CliError({
        code: 'forbidden',
        message: `This user may not give the control plane its rights in "${kube.name}": ${error.message}.`,
        fix: 'Install as a cluster administrator, for example with another --context or --as.',
        exit: exitCode.unreachable,
        cause: error,
      });
    }
  }
}
