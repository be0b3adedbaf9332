/** The objects of a cluster with many services: each a Deployment's pods, meshed as injection makes them, behind one EndpointSlice. */
import { injectPod } from '../../inject/index.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { type Address, formatAddress } from '../../protocol/discovery.ts';
import { defaultTrustDomain, imageRepository, injectAnnotation } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';

export interface Size {
  proxies: number;
  services: number;
  /** Services that each proxy subscribes to. */
  perProxy: number;
  namespaces: number;
}

export interface ServiceObjects {
  name: string;
  namespace: string;
  /** What its clients dial. */
  address: Address;
  pods: { name: string; ip: string }[];
}

const applicationPort = 8080;
const hash = '7d9c5b8f6d';

export const namespaceName = (size: Size, service: number): string => `bench-${service % size.namespaces}`;

/** Proxies are dealt out to services in turn, so that each has as many pods as the next, or one more. */
export function servicesOf(size: Size): ServiceObjects[] {
  return Array.from({ length: size.services }, (_, index) => {
    const name = `service-${index}`;
    const pods: ServiceObjects['pods'] = [];
    for (let proxy = index; proxy < size.proxies; proxy += size.services)
      pods.push({
        name: podName(name, pods.length),
        ip: `10.${128 + (proxy >> 16)}.${(proxy >> 8) & 255}.${proxy & 255}`,
      });
    const address = formatAddress(`10.96.${100 + (index >> 8)}.${index & 255}`, 80);
    return { name, namespace: namespaceName(size, index), address, pods };
  });
}

export const podName = (service: string, number: number): string =>
  `${service}-${hash}-${number.toString(36).padStart(5, 'x')}`;

/** Services that the pods of one depend on: those behind it, so that each has as many clients as the next. */
export const dependenciesOf = (size: Size, service: number): number[] =>
  Array.from({ length: size.perProxy }, (_, step) => (service + 1 + step) % size.services);

export function namespaceObject(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations: { [injectAnnotation]: 'enabled' } } };
}

export function accountObject({ name, namespace }: ServiceObjects): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

export function serviceObject({ name, namespace, address }: ServiceObjects): KubeObject {
  return withManagedFields({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: { app: name, 'app.kubernetes.io/part-of': 'bench' } },
    spec: {
      clusterIP: address.split(':')[0]!,
      selector: { app: name },
      ports: [{ name: 'http', port: 80, targetPort: applicationPort, protocol: 'TCP' }],
    },
  });
}

export interface EndpointState {
  pod: string;
  ip: string;
  ready: boolean;
}

export function sliceObject({ name, namespace }: ServiceObjects, endpoints: EndpointState[]): KubeObject {
  return withManagedFields({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-abcde`, namespace, labels: { app: name, 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: applicationPort, protocol: 'TCP' }],
    endpoints: endpoints.map(({ pod, ip, ready }) => ({
      addresses: [ip],
      conditions: { ready, serving: ready, terminating: false },
      nodeName: 'node-1',
      targetRef: { kind: 'Pod', namespace, name: pod, uid: `uid-${namespace}-${pod}` },
    })),
  });
}

/** What proxies are told while these are the endpoints: the addresses of those that are ready, in the protocol's order. */
export const stateOf = (endpoints: EndpointState[]): string =>
  endpoints
    .filter((one) => one.ready)
    .map((one) => formatAddress(one.ip, applicationPort))
    .sort()
    .join(' ');

/** A running pod, as large as the API server of a cluster gives it: with its defaults, status and managedFields. */
export function podObject({ name: service, namespace }: ServiceObjects, name: string, ip: string): KubeObject {
  const container = {
    name: 'main',
    image: `registry.example.com/shop/${service}:1.14.2`,
    imagePullPolicy: 'IfNotPresent',
    ports: [{ name: 'http', containerPort: applicationPort, protocol: 'TCP' }],
    env: ['LOG_LEVEL', 'DATABASE_URL', 'CACHE_URL', 'REGION'].map((one) => ({ name: one, value: `value-of-${one}` })),
    readinessProbe: { httpGet: { path: '/ready', port: 'http', scheme: 'HTTP' }, periodSeconds: 5, timeoutSeconds: 1 },
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    volumeMounts: [
      { name: 'kube-api-access', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
    ],
  };
  const result = injectPod(
    {
      metadata: { name, labels: { app: service, 'pod-template-hash': hash } },
      spec: {
        serviceAccountName: service,
        containers: [container],
        volumes: [{ name: 'kube-api-access', projected: {} }],
      },
    },
    { kind: 'deployment', name: service, namespace },
    { image: `${imageRepository}:${version}`, version, trustDomain: defaultTrustDomain, explicit: true },
  );
  if (result.outcome !== 'injected') throw new Error(`a pod of the bench cannot be injected: ${result.reason}`);
  const { metadata, spec } = result.template;
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${service}-${hash}`, uid: `uid-${service}` };
  const statuses = (containers: Json[]) => containers.map((one) => containerStatus(one));
  return withManagedFields({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      name,
      namespace,
      ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: true }],
    },
    spec: {
      ...spec,
      nodeName: 'node-1',
      dnsPolicy: 'ClusterFirst',
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '192.0.2.1',
      qosClass: 'Burstable',
      startTime: since,
      conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(
        (type) => ({
          ...{ type, status: 'True', lastProbeTime: null, lastTransitionTime: since, observedGeneration: 1 },
        }),
      ),
      containerStatuses: statuses(spec.containers),
      initContainerStatuses: statuses(spec.initContainers),
    },
  });
}

const since = '2026-01-01T00:00:00Z';

function containerStatus({ name, image }: Json): Json {
  const id = `containerd://${'0123456789abcdef'.repeat(4)}`;
  return {
    ...{ name, image, ready: true, started: true, restartCount: 0, lastState: {} },
    imageID: `sha256:${'0123456789abcdef'.repeat(4)}`,
    containerID: id,
    state: { running: { startedAt: since } },
  };
}

/** Who wrote which field, as every object of a real API server says; no small part of it. */
function withManagedFields(object: KubeObject): KubeObject {
  const { apiVersion, kind: _, status, ...written } = object;
  const entry = (manager: string, fields: Json, subresource?: string) => ({
    ...{ manager, operation: 'Update', apiVersion, time: since, fieldsType: 'FieldsV1', fieldsV1: fieldsOf(fields) },
    ...(subresource ? { subresource } : {}),
  });
  const managedFields = [entry('kube-controller-manager', written)];
  if (status) managedFields.push(entry('kubelet', { status }, 'status'));
  return { ...object, metadata: { ...object.metadata, managedFields } };
}

function fieldsOf(value: Json): Json {
  if (Array.isArray(value)) {
    const keyed = value.filter((one) => typeof one === 'object' && one !== null);
    return Object.fromEntries(
      keyed.map((one, index) => [
        `k:${JSON.stringify({ name: one.name ?? one.type ?? one.ip ?? index })}`,
        { '.': {}, ...fieldsOf(one) },
      ]),
    );
  }
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [`f:${name}`, fieldsOf(inner)]));
}
