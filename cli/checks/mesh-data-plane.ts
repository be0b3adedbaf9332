/** Category `mesh-data-plane`: the proxies are ready, connected, certified and current, and no pod lacks one. */
import { annotationProblems, settings } from '../../inject/settings.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { ProxyInfo } from '../../protocol/api.ts';
import { configPrefix, injectAnnotation, proxyVersionAnnotation } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import { isReadyPod } from '../control-pods.ts';
import { counted } from '../counted.ts';
import { podTrouble } from '../pod-trouble.ts';
import { type Category, type CheckContext, CheckError, CheckWarning, listed, need, podName } from './check.ts';
import { isUnredirected } from './mesh-cni.ts';

const upgrade = 'Run `mesh upgrade --restart-workloads`: it restarts their workloads, one at a time.';

async function infos(context: CheckContext): Promise<ProxyInfo[]> {
  const proxies = await context.proxies();
  return proxies.filter(({ namespace }) => context.namespace === undefined || namespace === context.namespace);
}

const isRunning = (pod: KubeObject): boolean => pod.status?.phase === 'Running' && !pod.metadata.deletionTimestamp;

/** What is wrong with an object's annotations of ours. */
function annotationTrouble(annotations: Record<string, string> = {}): string[] {
  const inject = annotations[injectAnnotation];
  const wrong =
    inject !== undefined && inject !== 'enabled' && inject !== 'disabled'
      ? [`${injectAnnotation} is "${inject}", not enabled or disabled`]
      : [];
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(configPrefix)) continue;
    const name = key.slice(configPrefix.length);
    const setting = Object.entries(settings).find(([one]) => one === name)?.[1];
    if (!setting) wrong.push(`${key} is no setting of the mesh`);
    else if (!setting.valid(value)) wrong.push(`${key} is "${value}"; for example ${setting.example}`);
  }
  return wrong;
}

export const meshDataPlane: Category = {
  name: 'mesh-data-plane',
  needs: ['mesh-control-plane'],
  checks: [
    {
      id: 'data-plane-namespace',
      description: 'the namespace exists',
      fix: 'Name another namespace with -n, or none to look at all.',
      fatal: true,
      run: async (context) => {
        const { namespace } = context;
        if (namespace === undefined) return 'all namespaces';
        const names = (await context.namespaces()).map((one) => one.metadata.name);
        need(names.includes(namespace), `namespace ${namespace} does not exist`);
        return namespace;
      },
    },
    {
      id: 'proxies-ready',
      description: 'pods with a proxy are ready',
      fix: 'Look at the pods that are named: `mesh logs POD -c mesh-proxy`, `kubectl describe pod`.',
      retryable: true,
      run: async (context) => {
        const kube = await context.kube();
        const pods = (await context.meshedPods()).filter((pod) => !pod.metadata.deletionTimestamp);
        const unready = pods.filter((pod) => !isReadyPod(pod));
        if (unready.length === 0) return `${pods.length} pods`;
        const trouble = await Promise.all(
          unready.slice(0, 5).map(async (pod) => (await podTrouble(kube, pod)).message),
        );
        const message = listed(`${unready.length} of ${pods.length} pods are not ready`, trouble);
        throw new CheckError(message, undefined, unready.every(isUnredirected));
      },
    },
    {
      id: 'proxies-injected',
      description: 'no pod lacks the proxy it should have',
      fix: 'Run `mesh check --fix`: it restarts their workloads, and names what it cannot restart.',
      run: async (context) => {
        const missing = await context.unmeshedPods();
        if (missing.length === 0) return undefined;
        const named = missing.map((one) => `${one.namespace}/${one.pod}: ${one.reason}`);
        throw new CheckWarning(listed(counted(missing.length, 'pod has no proxy', 'pods have no proxy'), named));
      },
    },
    {
      id: 'proxies-connected',
      description: 'every proxy is connected to the control plane',
      fix: 'Read the log of a proxy: `mesh logs POD -c mesh-proxy`; traffic flows meanwhile by what it last knew.',
      retryable: true,
      run: async (context) => {
        const connected = new Set((await infos(context)).map((one) => `${one.namespace}/${one.pod}`));
        const pods = (await context.meshedPods()).filter(isRunning).map(podName);
        const away = pods.filter((name) => !connected.has(name));
        need(away.length === 0, listed(`${away.length} of ${pods.length} proxies are not connected`, away));
        return undefined;
      },
    },
    {
      id: 'proxies-certificates',
      description: 'the certificate of every proxy is valid',
      fix: 'Proxies renew by themselves: read `mesh logs POD -c mesh-proxy` and `mesh logs control`.',
      run: async (context) => {
        const now = context.now().getTime();
        const expired = (await infos(context)).filter((one) => Date.parse(one.certificate_expires) <= now);
        const named = expired.map((one) => `${one.namespace}/${one.pod}: expired on ${one.certificate_expires}`);
        need(expired.length === 0, listed(counted(expired.length, 'is not', 'are not'), named));
        return undefined;
      },
    },
    {
      id: 'proxies-version',
      description: 'every proxy has the version of the command line',
      fix: upgrade,
      run: async (context) => {
        const of = (pod: KubeObject): string => pod.metadata.annotations?.[proxyVersionAnnotation] ?? 'unknown';
        const old = (await context.meshedPods()).filter((pod) => of(pod) !== version);
        if (old.length === 0) return version;
        const named = old.map((pod) => `${podName(pod)} (${of(pod)})`);
        throw new CheckWarning(listed(`${counted(old.length, 'proxy does', 'proxies do')} not run ${version}`, named));
      },
    },
    {
      id: 'annotations-valid',
      description: 'annotations of the mesh on namespaces, workloads, pods and services are valid',
      fix: 'Correct the annotation; docs/injection.md lists them, docs/resilience.md those of services. Injection is asked for on the pod template.',
      run: async (context) => {
        const kube = await context.kube();
        const scope = context.namespace === undefined ? {} : { namespace: context.namespace };
        const kinds = [resources.deployments, resources.statefulSets, resources.daemonSets];
        const workloads = (await Promise.all(kinds.map((type) => kube.list(type, scope)))).flat();
        const misplaced = workloads
          .filter(({ metadata, spec }) => {
            const template = spec?.template?.metadata?.annotations ?? {};
            return metadata.annotations?.[injectAnnotation] !== undefined && template[injectAnnotation] === undefined;
          })
          .map((one) => `${title(one)}: ${injectAnnotation} has no effect there, put it on the pod template`);
        const spaces = (await context.namespaces()).filter(
          (one) => (context.namespace ?? one.metadata.name) === one.metadata.name,
        );
        const wrong = [...spaces, ...workloads.map(template), ...(await context.meshedPods())].flatMap((object) =>
          annotationTrouble(object.metadata.annotations).map((what) => `${title(object)}: ${what}`),
        );
        const services = (await kube.list(resources.services, scope)).flatMap((one) =>
          annotationProblems(one.metadata.annotations, 'service').map((what) => `${title(one)}: ${what}`),
        );
        const all = [...new Set([...misplaced, ...wrong, ...services])];
        if (all.length > 0) throw new CheckWarning(listed(counted(all.length, 'is not', 'are not'), all));
        return undefined;
      },
    },
  ],
};

function title({ kind, metadata }: KubeObject): string {
  const where = metadata.namespace === undefined ? '' : ` in namespace ${metadata.namespace}`;
  return `${kind.toLowerCase()}/${metadata.name}${where}`;
}

/** A workload with the annotations of its pods. */
function template(workload: KubeObject): KubeObject {
  const annotations = workload.spec?.template?.metadata?.annotations ?? {};
  return { ...workload, metadata: { ...workload.metadata, annotations } };
}
