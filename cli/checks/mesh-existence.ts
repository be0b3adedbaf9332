/** Category `mesh-existence`: every object of an install is there, and none of its pods fails. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { cniName, controlName, controlNamespace, identitySecret, webhookName } from '../../protocol/names.ts';
import { controlPods } from '../control-pods.ts';
import { podTrouble } from '../pod-trouble.ts';
import { everyObject } from '../remove-mesh.ts';
import { allThere, type Category, type Check, CheckError, need } from './check.ts';

const again = 'Run `mesh install` again; it puts back what is missing.';

function objectsOf(kinds: RegExp): KubeObject[] {
  // The objects of the CNI plugin have checks of their own.
  return everyObject().filter(({ kind, metadata }) => kinds.test(kind) && metadata.name !== cniName);
}

const exists = (id: string, description: string, kinds: RegExp): Check => ({
  id,
  description,
  fix: again,
  run: (context) => allThere(context, objectsOf(kinds)),
});

export const meshExistence: Category = {
  name: 'mesh-existence',
  needs: ['kubernetes-api'],
  checks: [
    {
      id: 'namespace-exists',
      description: `namespace ${controlNamespace} exists`,
      fix: 'Run `mesh install`.',
      fatal: true,
      run: async (context) => {
        const namespace = await (await context.kube()).find(resources.namespaces, controlNamespace);
        need(namespace, 'the mesh is not installed: the namespace does not exist');
        need(!namespace.metadata.deletionTimestamp, 'the namespace is being deleted');
        return undefined;
      },
    },
    exists('service-accounts-exist', `service account ${controlName} exists`, /^ServiceAccount$/),
    exists('rbac-exists', 'roles and bindings of the control plane exist', /Role(Binding)?$/),
    exists('service-exists', `service ${controlName} exists`, /^Service$/),
    exists('webhook-exists', `webhook ${webhookName} exists`, /^MutatingWebhookConfiguration$/),
    {
      id: 'deployment-exists',
      description: `deploy/${controlName} exists`,
      fix: again,
      fatal: true,
      run: (context) => allThere(context, objectsOf(/^Deployment$/)),
    },
    {
      id: 'config-exists',
      description: `secret ${identitySecret}, with root and issuer, exists`,
      fix: 'The control plane makes it when it starts: read `mesh logs control`.',
      retryable: true,
      run: async (context) => {
        need(
          await (await context.kube()).find(resources.secrets, identitySecret, controlNamespace),
          'it does not exist',
        );
        return undefined;
      },
    },
    {
      id: 'pods-not-failing',
      description: 'no pod of the control plane fails',
      fix: `Read \`mesh logs control\` and \`kubectl -n ${controlNamespace} describe pod\`.`,
      run: async (context) => {
        const kube = await context.kube();
        const failing = (await controlPods(kube)).filter(isFailing);
        const troubles = await Promise.all(failing.map((pod) => podTrouble(kube, pod)));
        if (troubles.length === 0) return undefined;
        throw new CheckError(troubles.map(({ message }) => message).join('\n'), troubles[0]!.fix);
      },
    },
  ],
};

const beyondStarting =
  /^(CrashLoopBackOff|ImagePullBackOff|ErrImagePull|ErrImageNeverPull|InvalidImageName|CreateContainer\w*Error|RunContainerError)$/;

function isFailing(pod: KubeObject): boolean {
  const statuses: { state?: { waiting?: { reason?: string } } }[] = [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
  ];
  const unscheduled = (pod.status?.conditions ?? []).some(
    (one: { type: string; reason?: string }) => one.type === 'PodScheduled' && one.reason === 'Unschedulable',
  );
  return unscheduled || statuses.some((one) => beyondStarting.test(one.state?.waiting?.reason ?? ''));
}
