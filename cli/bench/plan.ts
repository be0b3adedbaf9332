/** What runs for a measurement: two copies of the workload, one with a proxy, and a load generator beside each. Pure. */

import { obstacle } from '../../inject/index.ts';
import { uninjectPod } from '../../inject/pod.ts';
import type { PodTemplate } from '../../inject/types.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { loadFlags } from '../../load/options.ts';
import { imageRoot, injectAnnotation, meshPrefix, workloadAnnotation } from '../../protocol/names.ts';
import { CliError } from '../errors.ts';
import type { BenchOptions } from './options.ts';
import type { Target } from './target.ts';

/** On everything a measurement makes; its value is the name of the copied workload. */
const benchLabel = `${meshPrefix}bench`;
const roleLabel = `${meshPrefix}bench-role`;
/** Until when it may take at most, RFC 3339; what is older was left behind by a command that was killed. */
export const untilAnnotation = `${meshPrefix}bench-until`;

/** Without a proxy, and with one. */
export const modes = ['without', 'mesh'] as const;
export type Mode = (typeof modes)[number];

export interface BenchPlan {
  namespace: string;
  /** Value of the label. */
  name: string;
  /** In the order in which they are made. */
  objects: KubeObject[];
  /** Names of what each mode has. */
  names: Record<Mode, { server: string; load: string }>;
}

/** Any user but the proxy's, whose traffic is not redirected. */
const nobody = 65_534;
/** Nobody waits for a copy's last answers. */
const graceSeconds = 2;
/** A Service's name is a DNS label: 63 characters, of which ours take some. */
const longestName = 38;

export interface PlanOptions extends Pick<BenchOptions, 'replicas'> {
  /** The mesh's own image: it holds the load generator. */
  image: string;
  until: Date;
  /** Seconds after which a load generator ends by itself. */
  deadlineSeconds: number;
}

export const selectorOf = (name: string, role?: string): string =>
  `${benchLabel}=${name}${role === undefined ? '' : `,${roleLabel}=${role}`}`;

/** The label's value for a workload. */
const benchName = (workload: string): string =>
  workload
    .slice(0, longestName)
    .replace(/[-.]+$/, '')
    .replaceAll('.', '-');

/** @throws CliError `cannot-bench` with the reason */
export function planBench(target: Target, options: PlanOptions): BenchPlan {
  const { deployment, namespace } = target;
  const template = uninjectPod(deployment.spec.template as PodTemplate);
  const found = reasonAgainst(template);
  if (found) {
    const message = `deploy/${deployment.metadata.name} in namespace ${namespace} cannot be copied: ${found}`;
    throw new CliError({ code: 'cannot-bench', message });
  }
  const name = benchName(deployment.metadata.name!);
  const nameOf = (role: string): string => `mesh-bench-${name}-${role}`;
  const annotations = { [untilAnnotation]: options.until.toISOString() };
  const metadata = (role: string): Json => ({
    name: nameOf(role),
    namespace,
    labels: { [benchLabel]: name, [roleLabel]: role },
    annotations,
  });
  const objects = modes.flatMap((mode) => {
    const inject = { [injectAnnotation]: mode === 'mesh' ? 'enabled' : 'disabled' };
    const { labels } = metadata(mode);
    const load = metadata(`load-${mode}`);
    return [
      {
        ...{ apiVersion: 'v1', kind: 'Service' },
        metadata: { ...metadata(mode), annotations: { ...target.serviceAnnotations, ...annotations } },
        spec: { selector: labels, ports: [{ name: 'bench', ...target.port }] },
      },
      {
        ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata(mode) },
        spec: {
          ...{ replicas: options.replicas, selector: { matchLabels: labels }, revisionHistoryLimit: 0 },
          // Labels of its own alone: no Service, policy or budget of the workload takes the copies for its pods.
          template: {
            metadata: { labels, annotations: { ...withoutWorkload(template.metadata?.annotations), ...inject } },
            spec: { ...template.spec, terminationGracePeriodSeconds: graceSeconds },
          },
        },
      },
      {
        ...{ apiVersion: 'v1', kind: 'Pod' },
        metadata: { ...load, annotations: { ...annotations, ...inject } },
        spec: loadPod(options),
      },
    ];
  });
  const names = (mode: Mode) => ({ server: nameOf(mode), load: nameOf(`load-${mode}`) });
  return { namespace, name, objects, names: { without: names('without'), mesh: names('mesh') } };
}

/** What the traffic of a pod counts for is said by injection, for the copy anew. */
function withoutWorkload(annotations: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => key !== workloadAnnotation));
}

function reasonAgainst(template: PodTemplate): string | undefined {
  const { containers = [], initContainers = [], volumes = [] } = template.spec as Record<string, Json[] | undefined>;
  const claim = volumes.find((one) => one.persistentVolumeClaim);
  if (claim) return `its volume ${claim.name} is claimed, and copies would write to it`;
  const bound = [...containers, ...initContainers].flatMap((one) => one.ports ?? []).find((one) => one.hostPort);
  if (bound) return `it takes port ${bound.hostPort} of its node, which its own pods have`;
  return obstacle(template)?.reason;
}

function loadPod({ image, deadlineSeconds }: PlanOptions): Json {
  return {
    ...{ restartPolicy: 'Never', terminationGracePeriodSeconds: 1, enableServiceLinks: false },
    activeDeadlineSeconds: deadlineSeconds,
    securityContext: {
      ...{ runAsNonRoot: true, runAsUser: nobody, runAsGroup: nobody },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        ...{ name: 'load', image, imagePullPolicy: 'IfNotPresent' },
        command: [`${imageRoot}/node`, '--disable-warning=ExperimentalWarning', ...loadFlags, `${imageRoot}/load.js`],
        resources: { requests: { cpu: '50m', memory: '64Mi' } },
        securityContext: {
          ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
          capabilities: { drop: ['ALL'] },
        },
      },
    ],
  };
}
