/** The tables kubectl prints: columns and cells per kind. */
import type { Json, KubeObject } from '../../kube/types.ts';
import { type CustomKind, columnValue } from './custom.ts';
import type { ServedType } from './types.ts';

type Column = [name: string, cell: (object: KubeObject) => string | number, wide?: boolean];

export function age(since: string | undefined): string {
  if (!since) return '<unknown>';
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
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

const columns: Record<string, Column[]> = {
  Pod: [
    name,
    [
      'Ready',
      (pod) =>
        `${counted(pod).filter((one) => one.ready).length}/${(pod.spec.containers?.length ?? 0) + (pod.spec.initContainers ?? []).filter((one: Json) => one.restartPolicy === 'Always').length}`,
    ],
    ['Status', podStatus],
    ['Restarts', (pod) => counted(pod).reduce((sum, one) => sum + (one.restartCount ?? 0), 0)],
    ageColumn,
    ['IP', (pod) => pod.status?.podIP ?? '<none>', true],
    ['Node', (pod) => pod.spec.nodeName ?? '<none>', true],
  ],
  Deployment: [
    name,
    ['Ready', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`],
    ['Up-to-date', ({ status }) => status?.updatedReplicas ?? 0],
    ['Available', ({ status }) => status?.availableReplicas ?? 0],
    ageColumn,
    ...images,
  ],
  ReplicaSet: [
    name,
    ['Desired', ({ spec }) => spec.replicas ?? 0],
    ['Current', ({ status }) => status?.replicas ?? 0],
    ['Ready', ({ status }) => status?.readyReplicas ?? 0],
    ageColumn,
    ...images,
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
    ageColumn,
    ...images,
  ],
  Job: [
    name,
    [
      'Status',
      ({ status }) => (status?.conditions ?? []).find((one: Json) => one.status === 'True')?.type ?? 'Running',
    ],
    ['Completions', ({ spec, status }) => `${status?.succeeded ?? 0}/${spec.completions ?? 1}`],
    ageColumn,
  ],
  CronJob: [
    name,
    ['Schedule', ({ spec }) => spec.schedule],
    ['Suspend', ({ spec }) => String(spec.suspend ?? false)],
    ['Active', ({ status }) => status?.active?.length ?? 0],
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
      ({ spec }) => (spec.ports ?? []).map((port: Json) => `${port.port}/${port.protocol}`).join(',') || '<none>',
    ],
    ageColumn,
  ],
  Node: [
    name,
    [
      'Status',
      ({ status }) =>
        (status?.conditions ?? []).some((one: Json) => one.type === 'Ready' && one.status === 'True')
          ? 'Ready'
          : 'NotReady',
    ],
    ['Roles', () => '<none>'],
    ageColumn,
    ['Version', ({ status }) => status?.nodeInfo?.kubeletVersion ?? ''],
  ],
  Namespace: [name, ['Status', ({ status }) => status?.phase ?? 'Active'], ageColumn],
  ConfigMap: [name, ['Data', (object) => Object.keys({ ...object.data, ...object.binaryData }).length], ageColumn],
  Secret: [
    name,
    ['Type', (object) => object.type],
    ['Data', (object) => Object.keys(object.data ?? {}).length],
    ageColumn,
  ],
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
