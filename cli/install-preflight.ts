/** What would make an install fail half way, found before anything is changed. */
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';
import { controlNamespace } from '../protocol/names.ts';
import { CliError } from './errors.ts';
import { remaining } from './remove-mesh.ts';

/** Native sidecars are on by default from here on. */
export const oldestMinor = 29;

const fix = 'Install as a cluster administrator, for example with another --context or --as.';

/** @throws CliError `namespace-terminating`, `kubernetes-too-old`, `forbidden` */
export async function preflight(kube: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  const { gitVersion } = await kube.version();
  if (isTooOld(gitVersion)) {
    throw new CliError({
      code: 'kubernetes-too-old',
      message: `"${kube.name}" runs Kubernetes ${gitVersion}; the mesh needs 1.${oldestMinor} or newer, for native sidecars`,
    });
  }
  // Everyone is an administrator of the local mesh.
  const missing = kube.local ? [] : await missingRights(kube, objects);
  if (missing.length > 0) {
    const message = `Installing in "${kube.name}" takes rights that this user lacks: ${missing.join(', ')}`;
    throw new CliError({ code: 'forbidden', message, fix });
  }
  const leftover = await terminating(kube);
  if (leftover !== undefined) throw new CliError({ code: 'namespace-terminating', message: leftover });
  const refused = kube.local ? undefined : await refusedGrant(kube, objects);
  if (refused) {
    const message = `This user may not give the control plane its rights in "${kube.name}": ${refused.message}`;
    throw new CliError({ code: 'forbidden', message, fix, cause: refused });
  }
}

export function isTooOld(gitVersion: string): boolean {
  const match = /^v?(\d+)\.(\d+)/.exec(gitVersion);
  return match !== null && Number(match[1]) <= 1 && Number(match[2]) < oldestMinor;
}

const nameOf = (type: ResourceType): string => (type.group ? `${type.plural}.${type.group}` : type.plural);

/** Rights that applying the objects takes and this user lacks, e.g. `create clusterroles.rbac.authorization.k8s.io`. */
export async function missingRights(kube: KubeClient, objects: readonly KubeObject[]): Promise<string[]> {
  const wanted = new Map<string, { type: ResourceType; namespace?: string; verb: string }>();
  for (const { apiVersion, kind, metadata } of objects) {
    const type = await kube.resolve(apiVersion, kind);
    if (!type) continue; // Said by apply, with the server's own words.
    const { namespace } = metadata;
    // An install is a server-side apply, which is a patch also where it creates.
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

/** A sentence about the namespace of an earlier install, where it is still being deleted. */
export async function terminating(kube: KubeClient): Promise<string | undefined> {
  const namespace = await kube.find(resources.namespaces, controlNamespace);
  if (!namespace?.metadata.deletionTimestamp) return undefined;
  const on = remaining(namespace);
  return `Namespace ${controlNamespace} of an earlier install is still being deleted${on === undefined ? '' : `: ${on}`}`;
}

/** A role can only be given by who has all its rights: asked of the server by a dry run, since no review tells. */
export async function refusedGrant(kube: KubeClient, objects: readonly KubeObject[]): Promise<KubeError | undefined> {
  for (const object of objects.filter((one) => one.kind === 'ClusterRole')) {
    try {
      await kube.apply(object, { fieldManager: 'mesh', force: true, dryRun: true });
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 403) throw error;
      return error;
    }
  }
  return undefined;
}
