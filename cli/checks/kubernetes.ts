/** Categories `kubernetes-api` and `kubernetes-version`: there is a cluster, and the mesh can run on it. */
import { resources } from '../../kube/resources.ts';
import { controlNamespace } from '../../protocol/names.ts';
import { isTooOld, oldestMinor } from '../install-preflight.ts';
import { type Category, need } from './check.ts';

export const kubernetesApi: Category = {
  name: 'kubernetes-api',
  checks: [
    {
      id: 'api-reachable',
      description: 'the Kubernetes API answers',
      fix: 'Check the kubeconfig and the network, or run `mesh install` for a local mesh.',
      fatal: true,
      run: async (context) => {
        const kube = await context.kube();
        return `"${kube.name}" at ${kube.server}`;
      },
    },
    {
      id: 'api-access',
      description: `pods of namespace ${controlNamespace} can be listed`,
      fix: 'Ask for the right that is named, or use another --context or --as.',
      fatal: true,
      run: async (context) => {
        await (await context.kube()).list(resources.pods, { namespace: controlNamespace });
        return undefined;
      },
    },
  ],
};

export const kubernetesVersion: Category = {
  name: 'kubernetes-version',
  needs: ['kubernetes-api'],
  checks: [
    {
      id: 'kubernetes-version',
      description: `Kubernetes is 1.${oldestMinor} or newer`,
      fix: 'Upgrade the cluster: the proxy is a native sidecar, which older versions do not have.',
      run: async (context) => {
        const { gitVersion } = await (await context.kube()).version();
        need(!isTooOld(gitVersion), `the cluster runs ${gitVersion}`);
        return gitVersion;
      },
    },
  ],
};
