/** Category `mesh-control-plane`: it is available, its API answers, and it can do its work. */
import { resources } from '../../kube/resources.ts';
import { controlName, controlNamespace } from '../../protocol/names.ts';
import { controlTrouble, isRolledOut } from '../wait-for-control.ts';
import { type Category, CheckError, listed, need } from './check.ts';

export const meshControlPlane: Category = {
  name: 'mesh-control-plane',
  needs: ['mesh-existence'],
  checks: [
    {
      id: 'control-available',
      description: `deploy/${controlName} is available and its pods are ready`,
      fix: `Read \`mesh logs control\` and \`kubectl -n ${controlNamespace} describe pod\`.`,
      fatal: true,
      retryable: true,
      run: async (context) => {
        const kube = await context.kube();
        const deployment = await kube.find(resources.deployments, controlName, controlNamespace);
        if (!deployment || !isRolledOut(deployment)) {
          const { message, fix } = await controlTrouble(kube, deployment);
          throw new CheckError(message, fix);
        }
        return `${deployment.status?.availableReplicas}/${deployment.spec?.replicas ?? 1}`;
      },
    },
    {
      id: 'control-api',
      description: 'the API of the control plane answers',
      fix: `The right to create pods/portforward in namespace ${controlNamespace} is needed; read \`mesh logs control\`.`,
      fatal: true,
      retryable: true,
      run: async (context) => {
        await context.status();
        return undefined;
      },
    },
    {
      id: 'control-works',
      description: 'the control plane follows the cluster, and its upkeep succeeds',
      fix: 'Where a right is missing, run `mesh install` again: it puts roles back as they should be. Else read `mesh logs control`.',
      retryable: true,
      run: async (context) => {
        const troubles = (await context.status()).flatMap(({ status }) => status.troubles ?? []);
        need(troubles.length === 0, listed('it reports', [...new Set(troubles)]));
        return undefined;
      },
    },
  ],
};
