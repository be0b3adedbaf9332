/** What checks ask of the cluster and the control plane, each thing once. */
import { resources } from '../../kube/resources.ts';
import type { ControlStatus, ProxiesResponse } from '../../protocol/api.ts';
import { meshedLabel } from '../../protocol/names.ts';
import type { Context } from '../context.ts';
import { openControl } from '../control-api.ts';
import type { CheckContext } from './check.ts';

/** `again` forgets the answers: they may have changed. */
export function ask(context: Context): { checkContext: CheckContext; again: () => void } {
  const answers = new Map<string, Promise<unknown>>();
  const once = <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const known = answers.get(what) as Promise<T> | undefined;
    if (known) return known;
    const asked = work();
    answers.set(what, asked);
    return asked;
  };
  const { namespace } = context.globals;
  const checkContext: CheckContext = {
    namespace,
    kube: () => context.kube(),
    now: () => context.now(),
    status: () =>
      once('status', async () => {
        const api = await openControl(context);
        const before = context.now().getTime();
        const found = await api.each<ControlStatus>('/v1/status');
        const askedAt = (before + context.now().getTime()) / 2;
        return found.map((status) => ({ status, askedAt }));
      }),
    proxies: () =>
      once('proxies', async () => {
        const { proxies } = await (await openControl(context)).get<ProxiesResponse>('/v1/proxies');
        return proxies;
      }),
    meshedPods: () =>
      once('pods', async () => {
        const scope = namespace === undefined ? {} : { namespace };
        const pods = await (await context.kube()).list(resources.pods, {
          labelSelector: `${meshedLabel}=enabled`,
          ...scope,
        });
        return pods.filter((pod) => pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed');
      }),
    unmeshedPods: async () => {
      const { unmeshed } = (await checkContext.status())[0]!.status;
      return unmeshed.filter((one) => (namespace ?? one.namespace) === one.namespace);
    },
    namespaces: () => once('namespaces', async () => (await context.kube()).list(resources.namespaces)),
  };
  return { checkContext, again: () => answers.clear() };
}
