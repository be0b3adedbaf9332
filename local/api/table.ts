/** The tables kubectl prints: columns and cells per kind. */
import type { Json, KubeObject, OwnerReference } from '../../kube/types.ts';
import { type CustomKind, columnValue } from './custom.ts';
import type { ServedType } from './types.ts';

type Column = [name: string, cell: (object: KubeObject) => string | number, wide?: boolean];

/** A span as kubectl shows it: two units while the first is small. */
function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const two = (first: number, unit: string, second: number, small: string): string =>
    `${first}${unit}${second > 0 ? `${second}${small}` : ''}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, 'd', hours % 24, 'h');
  if (days < 730) return `${days}d`;
  return two(Math.floor(days / 365), 'y', days % 365, 'd');
}

function age(since: string | undefined): string {
  return since ? span(Date.now() - Date.parse(since)) : '<unknown>';
}

function podStatus(pod: KubeObject): string {
  const statuses: Json[] = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  if (pod.metadata.deletionTimestamp) return 'Terminating';
  const waiting = statuses.find((one) => one.state?.waiting?.reason && one.state.waiting.reason !== 'PodInitializing');
  if (waiting) return waiting.state.waiting.reason;
  const init: Json[] = pod.status?.initContainerStatuses ?? [];
  const pending = init.filter((one) => !(one.state?.terminated?.exitCode === 0 || one.started));
  if (pod.status?.phase === 'Pending' && pending.length > 0)
    return `Init:${init.length - pending.length}/${init.length}`;
  const failed = (pod.status?.containerStatuses ?? []).find(
    (one: Json) => one.state?.terminated && one.state.terminated.exitCode !== 0,
  );
  if (failed) return failed.state.terminated.reason ?? 'Error';
  return pod.status?.phase === 'Succeeded' ? 'Completed' : (pod.status?.phase ?? 'Pending');
}

/** Sidecars (init containers that always restart) count as containers of the pod. */
function counted(pod: KubeObject): Json[] {
  const sidecars = (pod.spec.initContainers ?? [])
    .filter((one: Json) => one.restartPolicy === 'Always')
    .map((one: Json) => one.name);
  return [
    ...(pod.status?.initContainerStatuses ?? []).filter((one: Json) => sidecars.includes(one.name)),
    ...(pod.status?.containerStatuses ?? []),
  ];
}

function restarts(pod: KubeObject): string | number {
  const sum = counted(pod).reduce((total, one) => total + (one.restartCount ?? 0), 0);
  const ends = counted(pod).map((one) => Date.parse(one.lastState?.terminated?.finishedAt ?? '') || 0);
  const last = Math.max(0, ...ends);
  return sum > 0 && last > 0 ? `${sum} (${span(Date.now() - last)} ago)` : sum;
}

const selectorText = (labels: Record<string, string> | undefined): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || '<none>';
const created: Column = ['Created At', (object) => object.metadata.creationTimestamp ?? ''];
const selector: Column = ['Selector', ({ spec }) => selectorText(spec.selector?.matchLabels), true];

const name: Column = ['Name', (object) => object.metadata.name!];
const ageColumn: Column = ['Age', (object) => age(object.metadata.creationTimestamp)];
const images: Column[] = [
  [
    'Containers',
    (object) => (object.spec.template?.spec.containers ?? []).map((one: Json) => one.name).join(','),
    true,
  ],
  ['Images', (object) => (object.spec.template?.spec.containers ?? []).map((one: Json) => one.image).join(','), true],
];

function ownerText(owner: OwnerReference | undefined): string {
  return owner ? `${owner.kind.toLowerCase()}.${owner.apiVersion.split('/')[0]}/${owner.name}` : '<none>';
}

function endpoints(object: KubeObject): string {
  const all: string[] = (object.subsets ?? []).flatMap((subset: Json) =>
    (subset.addresses ?? []).flatMap(({ ip }: Json) => (subset.ports ?? []).map(({ port }: Json) => `${ip}:${port}`)),
  );
  if (all.length <= 3) return all.join(',') || '<none>';
  return `${all.slice(0, 3).join(',')} + ${all.length - 3} more...`;
}

const columns: Record<string, Column[]> = {
  Pod: [
    name,
    [
      'Ready',
      (pod) =>
        `${counted(pod).filter((one) => one.ready).length}/${(pod.spec.containers?.length ?? 0) + (pod.spec.initContainers ?? []).filter((one: Json) => one.restartPolicy === 'Always').length}`,
    ],
    ['Status', podStatus],
    ['Restarts', restarts],
    ageColumn,
    ['IP', (pod) => pod.status?.podIP ?? '<none>', true],
    ['Node', (pod) => pod.spec.nodeName ?? '<none>', true],
    ['Nominated Node', () => '<none>', true],
    ['Readiness Gates', () => '<none>', true],
  ],
  Deployment: [
    name,
    ['Ready', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`],
    ['Up-to-date', ({ status }) => status?.updatedReplicas ?? 0],
    ['Available', ({ status }) => status?.availableReplicas ?? 0],
    ageColumn,
    ...images,
    selector,
  ],
  ReplicaSet: [
    name,
    ['Desired', ({ spec }) => spec.replicas ?? 0],
    ['Current', ({ status }) => status?.replicas ?? 0],
    ['Ready', ({ status }) => status?.readyReplicas ?? 0],
    ageColumn,
    ...images,
    selector,
  ],
  StatefulSet: [
    name,
    ['Ready', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`],
    ageColumn,
    ...images,
  ],
  DaemonSet: [
    name,
    ['Desired', ({ status }) => status?.desiredNumberScheduled ?? 0],
    ['Current', ({ status }) => status?.currentNumberScheduled ?? 0],
    ['Ready', ({ status }) => status?.numberReady ?? 0],
    ['Up-to-date', ({ status }) => status?.updatedNumberScheduled ?? 0],
    ['Available', ({ status }) => status?.numberAvailable ?? 0],
    ['Node Selector', ({ spec }) => selectorText(spec.template?.spec?.nodeSelector)],
    ageColumn,
    ...images,
    selector,
  ],
  Job: [
    name,
    [
      'Status',
      ({ status }) => (status?.conditions ?? []).find((one: Json) => one.status === 'True')?.type ?? 'Running',
    ],
    ['Completions', ({ spec, status }) => `${status?.succeeded ?? 0}/${spec.completions ?? 1}`],
    [
      'Duration',
      ({ status }) =>
        status?.startTime ? span((Date.parse(status.completionTime) || Date.now()) - Date.parse(status.startTime)) : '',
    ],
    ageColumn,
    ...images,
    selector,
  ],
  CronJob: [
    name,
    ['Schedule', ({ spec }) => spec.schedule],
    ['Timezone', ({ spec }) => spec.timeZone ?? '<none>'],
    ['Suspend', ({ spec }) => (spec.suspend ? 'True' : 'False')],
    ['Active', ({ status }) => status?.active?.length ?? 0],
    ['Last Schedule', ({ status }) => (status?.lastScheduleTime ? age(status.lastScheduleTime) : '<none>')],
    ageColumn,
  ],
  Service: [
    name,
    ['Type', ({ spec }) => spec.type],
    ['Cluster-IP', ({ spec }) => spec.clusterIP ?? '<none>'],
    [
      'External-IP',
      ({ spec, status }) =>
        status?.loadBalancer?.ingress?.[0]?.ip ??
        spec.externalName ??
        (spec.type === 'LoadBalancer' ? '<pending>' : '<none>'),
    ],
    [
      'Port(s)',
      ({ spec }) =>
        (spec.ports ?? [])
          .map((port: Json) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ''}/${port.protocol}`)
          .join(',') || '<none>',
    ],
    ageColumn,
    ['Selector', ({ spec }) => selectorText(spec.selector), true],
  ],
  Node: [
    name,
    [
      'Status',
      ({ spec, status }) => {
        const ready = (status?.conditions ?? []).some((one: Json) => one.type === 'Ready' && one.status === 'True');
        return `${ready ? 'Ready' : 'NotReady'}${spec?.unschedulable ? ',SchedulingDisabled' : ''}`;
      },
    ],
    ['Roles', () => '<none>'],
    ageColumn,
    ['Version', ({ status }) => status?.nodeInfo?.kubeletVersion ?? ''],
    ['Internal-IP', ({ status }) => status?.addresses?.[0]?.address ?? '<none>', true],
    ['External-IP', () => '<none>', true],
    ['OS-Image', ({ status }) => status?.nodeInfo?.osImage ?? '<unknown>', true],
    ['Kernel-Version', ({ status }) => status?.nodeInfo?.kernelVersion ?? '<unknown>', true],
    ['Container-Runtime', ({ status }) => status?.nodeInfo?.containerRuntimeVersion ?? '<unknown>', true],
  ],
  Namespace: [name, ['Status', ({ status }) => status?.phase ?? 'Active'], ageColumn],
  ConfigMap: [name, ['Data', (object) => Object.keys({ ...object.data, ...object.binaryData }).length], ageColumn],
  Secret: [
    name,
    ['Type', (object) => object.type],
    ['Data', (object) => Object.keys(object.data ?? {}).length],
    ageColumn,
  ],
  ServiceAccount: [name, ['Secrets', (object) => object.secrets?.length ?? 0], ageColumn],
  Endpoints: [name, ['Endpoints', endpoints], ageColumn],
  EndpointSlice: [
    name,
    ['AddressType', (slice) => slice.addressType],
    ['Ports', (slice) => (slice.ports ?? []).map((one: Json) => one.port).join(',') || '<unset>'],
    ['Endpoints', (slice) => (slice.endpoints ?? []).flatMap((one: Json) => one.addresses).join(',') || '<unset>'],
    ageColumn,
  ],
  Lease: [name, ['Holder', ({ spec }) => spec?.holderIdentity ?? ''], ageColumn],
  PodDisruptionBudget: [
    name,
    ['Min Available', ({ spec }) => spec.minAvailable ?? 'N/A'],
    ['Max Unavailable', ({ spec }) => spec.maxUnavailable ?? 'N/A'],
    ['Allowed Disruptions', ({ status }) => status?.disruptionsAllowed ?? 0],
    ageColumn,
  ],
  ControllerRevision: [
    name,
    ['Controller', ({ metadata }) => ownerText(metadata.ownerReferences?.find((one) => one.controller))],
    ['Revision', (object) => object.revision ?? 0],
    ageColumn,
  ],
  Role: [name, created],
  ClusterRole: [name, created],
  RoleBinding: [name, ['Role', ({ roleRef }) => `${roleRef.kind}/${roleRef.name}`], ageColumn],
  ClusterRoleBinding: [name, ['Role', ({ roleRef }) => `${roleRef.kind}/${roleRef.name}`], ageColumn],
  CustomResourceDefinition: [name, created],
  MutatingWebhookConfiguration: [name, ['Webhooks', (object) => object.webhooks?.length ?? 0], ageColumn],
  ValidatingWebhookConfiguration: [name, ['Webhooks', (object) => object.webhooks?.length ?? 0], ageColumn],
  Event: [
    ['Last Seen', (event) => age(event.lastTimestamp)],
    ['Type', (event) => event.type],
    ['Reason', (event) => event.reason],
    ['Object', (event) => `${event.involvedObject?.kind?.toLowerCase()}/${event.involvedObject?.name}`],
    ['Message', (event) => event.message],
  ],
};

/** The columns that a definition names; times as ages. */
function customColumns({ version }: CustomKind): Column[] {
  const own: Json[] = version.additionalPrinterColumns ?? [
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ];
  return [
    name,
    ...own.map(
      (column): Column => [
        column.name,
        (object) => {
          const value = columnValue(column, object);
          if (value === undefined || value === null) return '';
          return column.type === 'date' ? age(String(value)) : typeof value === 'number' ? value : String(value);
        },
        (column.priority ?? 0) > 0,
      ],
    ),
  ];
}

/** A meta.k8s.io/v1 Table of some objects. */
export function tableOf(type: ServedType, objects: readonly KubeObject[], metadata: object, whole: boolean): object {
  const layout = type.custom ? customColumns(type.custom) : (columns[type.kind] ?? [name, ageColumn]);
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: layout.map(([title, , wide]) => ({
      name: title,
      type: 'string',
      format: title === 'Name' ? 'name' : '',
      description: title,
      priority: wide ? 1 : 0,
    })),
    rows: objects.map((object) => ({
      cells: layout.map(([, cell]) => cell(object)),
      object: whole
        ? object
        : { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata },
    })),
  };
}
