/** Category `mesh-cni`, where the mesh is installed with --cni: the plugin is on every node, and no pod came before it. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { cniName, controlName, controlNamespace, validateContainer } from '../../protocol/names.ts';
import { cniOf } from '../../templates/cni.ts';
import { counted } from '../counted.ts';
import { everyObject } from '../remove-mesh.ts';
import { cniTrouble, coverage } from '../wait-for-cni.ts';
import { allThere, type Category, type CheckContext, CheckError, listed, need, podName } from './check.ts';

/** Whether pods are told to wait for the plugin. */
async function isInstalled(context: CheckContext): Promise<boolean> {
  const control = await (await context.kube()).find(resources.deployments, controlName, controlNamespace);
  return control !== undefined && cniOf(control) !== undefined;
}

/** Its rules are not there, and will not come: the container that looks for them has failed. */
export function isUnredirected({ status }: KubeObject): boolean {
  const found = (status?.initContainerStatuses ?? []).find((one: Json) => one.name === validateContainer);
  const ended = found?.state?.terminated ?? found?.lastState?.terminated;
  return found?.ready !== true && ended !== undefined && ended.exitCode !== 0;
}

/** Pods that do not start for want of the plugin's rules, in the namespace asked for or in all. */
export async function unredirectedPods(context: CheckContext): Promise<KubeObject[]> {
  const pods = await context.meshedPods();
  return pods.filter((pod) => !pod.metadata.deletionTimestamp && isUnredirected(pod));
}

export const meshCni: Category = {
  name: 'mesh-cni',
  needs: ['mesh-existence'],
  applies: isInstalled,
  checks: [
    {
      id: 'cni-exists',
      description: `namespace, account, roles and daemon set ${cniName} exist`,
      fix: 'Run `mesh install --cni` again; it puts back what is missing.',
      fatal: true,
      run: (context) =>
        allThere(
          context,
          everyObject().filter(({ metadata }) => metadata.name === cniName),
        ),
    },
    {
      id: 'cni-ready',
      description: 'the CNI plugin is in the network configuration of every node',
      fix: `Read \`kubectl -n ${cniName} logs ds/${cniName}\`; --cni-bin-dir and --cni-conf-dir name the folders of your distribution.`,
      retryable: true,
      run: async (context) => {
        const kube = await context.kube();
        const found = await kube.find(resources.daemonSets, cniName, cniName);
        need(found, `daemon set ${cniName} does not exist`);
        const { ready, nodes, complete } = coverage(found);
        if (complete) return counted(nodes, 'node', 'nodes');
        const { message, fix } = await cniTrouble(kube, found);
        throw new CheckError(`${ready} of ${nodes} nodes have it: ${message}`, fix);
      },
    },
    {
      id: 'cni-redirected',
      description: 'the traffic of every pod with a proxy is redirected',
      fix: 'Run `mesh check --fix`: it deletes the pods that are named, to have them made anew. Their network was made without the plugin.',
      run: async (context) => {
        const late = (await unredirectedPods(context)).map(podName);
        need(late.length === 0, listed(`${counted(late.length, 'pod was', 'pods were')} made without it`, late));
        return undefined;
      },
    },
  ],
};
