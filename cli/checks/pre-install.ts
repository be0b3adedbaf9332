/** Category `pre-install`: this machine can run the local mesh, or the cluster grants what an install needs. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { localPreflight } from '../../local/launch.ts';
import { controlNamespace } from '../../protocol/names.ts';
import { missingRights, refusedGrant, terminating } from '../install-preflight.ts';
import { everyObject } from '../remove-mesh.ts';
import { type Category, type Check, listed, need } from './check.ts';

/** One check for each thing this machine must have. */
export async function preInstallLocal(): Promise<Category> {
  const results = await localPreflight();
  return {
    name: 'pre-install',
    checks: results.map(({ id, ok, message, fix }) => ({
      id,
      section: 'local-machine',
      description: message.replace(/\.$/, ''),
      fix: fix ?? '',
      run: async () => {
        need(ok, 'the local mesh cannot run without it');
        return undefined;
      },
    })),
  };
}

const canCreate = (type: ResourceType, objects: KubeObject[]): Check => ({
  id: 'can-create',
  description: `can create and update ${type.plural}`,
  fix: 'Install as a cluster administrator, or ask for this right.',
  run: async (context) => {
    const kube = await context.kube();
    const missing = await missingRights(kube, objects);
    need(missing.length === 0, listed('these rights are missing', missing));
    const refused = await refusedGrant(kube, objects);
    need(!refused, `the control plane may not be given its rights: ${refused?.message}`);
    return undefined;
  },
});

/** One check for each kind of object that an install applies. */
function canCreateAll(): Check[] {
  const byKind = Object.groupBy(everyObject(), ({ kind }) => kind);
  return Object.entries(byKind).map(([kind, objects]) =>
    canCreate(Object.values(resources).find((one) => one.kind === kind)!, objects!),
  );
}

export function preInstallCluster(): Category {
  return {
    name: 'pre-install',
    needs: ['kubernetes-api'],
    checks: [
      ...canCreateAll(),
      {
        id: 'namespace-free',
        description: `namespace ${controlNamespace} is not being deleted`,
        fix: `Wait until \`kubectl get namespace ${controlNamespace}\` no longer finds it.`,
        run: async (context) => {
          const leftover = await terminating(await context.kube());
          if (leftover !== undefined) throw new Error(leftover);
          return undefined;
        },
      },
    ],
  };
}
