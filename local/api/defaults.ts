/** What Kubernetes fills in where a manifest is silent, for the kinds and fields that are used here. */
import type { Json, KubeObject } from '../../kube/types.ts';
import { establish } from './custom.ts';

/** Sets a field that is absent. */
function fill(object: Json, values: Record<string, Json>): void {
  for (const [field, value] of Object.entries(values))
    if (object[field] === undefined || object[field] === null) object[field] = value;
}

function probe(value: Json): void {
  if (!value) return;
  fill(value, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  if (value.httpGet) fill(value.httpGet, { path: '/', scheme: 'HTTP' });
}

function container(value: Json): void {
  const latest = !/[:@]/.test((value.image ?? '').split('/').at(-1)) || value.image?.endsWith(':latest');
  fill(value, {
    imagePullPolicy: latest ? 'Always' : 'IfNotPresent',
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    resources: {},
  });
  for (const port of value.ports ?? []) fill(port, { protocol: 'TCP' });
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) probe(value[name]);
  for (const variable of value.env ?? [])
    if (variable.valueFrom?.fieldRef) fill(variable.valueFrom.fieldRef, { apiVersion: 'v1' });
}

function podSpec(spec: Json, restartPolicy = 'Always'): void {
  if (!spec) return;
  fill(spec, {
    restartPolicy,
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  });
  for (const one of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) container(one);
  for (const volume of spec.volumes ?? []) {
    for (const kind of ['configMap', 'secret', 'projected']) if (volume[kind]) fill(volume[kind], { defaultMode: 420 });
    for (const source of volume.projected?.sources ?? [])
      if (source.serviceAccountToken) fill(source.serviceAccountToken, { expirationSeconds: 3600 });
  }
}

function template(spec: Json): void {
  if (spec.template) {
    fill(spec.template, { metadata: {} });
    podSpec(spec.template.spec);
  }
}

function webhooks(configuration: KubeObject): void {
  for (const webhook of configuration.webhooks ?? []) {
    fill(webhook, {
      failurePolicy: 'Fail',
      matchPolicy: 'Equivalent',
      timeoutSeconds: 10,
      namespaceSelector: {},
      objectSelector: {},
    });
    if (configuration.kind === 'MutatingWebhookConfiguration') fill(webhook, { reinvocationPolicy: 'Never' });
    if (webhook.clientConfig?.service) fill(webhook.clientConfig.service, { port: 443 });
    for (const rule of webhook.rules ?? []) fill(rule, { scope: '*' });
  }
}

const rules: Record<string, (object: KubeObject) => void> = {
  Pod: (pod) => {
    podSpec(pod.spec);
    fill(pod.spec, {
      serviceAccountName: 'default',
      enableServiceLinks: true,
      preemptionPolicy: 'PreemptLowerPriority',
      priority: 0,
    });
    fill(pod, { status: { phase: 'Pending', qosClass: 'BestEffort' } });
  },
  Deployment: ({ spec }) => {
    fill(spec, {
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: { type: 'RollingUpdate' },
    });
    fill(spec.strategy, { type: 'RollingUpdate' });
    if (spec.strategy.type === 'RollingUpdate') {
      fill(spec.strategy, { rollingUpdate: {} });
      fill(spec.strategy.rollingUpdate, { maxSurge: '25%', maxUnavailable: '25%' });
    }
    template(spec);
  },
  ReplicaSet: ({ spec }) => {
    fill(spec, { replicas: 1 });
    template(spec);
  },
  StatefulSet: ({ spec }) => {
    fill(spec, {
      replicas: 1,
      podManagementPolicy: 'OrderedReady',
      revisionHistoryLimit: 10,
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
    });
    template(spec);
  },
  DaemonSet: ({ spec }) => {
    fill(spec, {
      revisionHistoryLimit: 10,
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
    });
    template(spec);
  },
  Job: (job) => {
    const { spec } = job;
    fill(spec, { backoffLimit: 6, completionMode: 'NonIndexed', suspend: false });
    if (spec.completions === undefined && spec.parallelism === undefined)
      fill(spec, { completions: 1, parallelism: 1 });
    else fill(spec, { parallelism: 1 });
    template(spec);
  },
  CronJob: ({ spec }) =>
    fill(spec, {
      concurrencyPolicy: 'Allow',
      suspend: false,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 1,
    }),
  Service: ({ spec }) => {
    fill(spec, {
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
    });
    for (const port of spec.ports ?? []) {
      fill(port, { protocol: 'TCP' });
      fill(port, { targetPort: port.port });
    }
  },
  Namespace: (namespace) => {
    fill(namespace, { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } });
    namespace.metadata.labels = {
      ...namespace.metadata.labels,
      'kubernetes.io/metadata.name': namespace.metadata.name!,
    };
  },
  Secret: (secret) => {
    fill(secret, { type: 'Opaque' });
    if (secret.stringData) {
      secret.data = { ...secret.data };
      for (const [key, value] of Object.entries<string>(secret.stringData))
        secret.data[key] = Buffer.from(value).toString('base64');
      delete secret.stringData;
    }
  },
  CustomResourceDefinition: establish,
  MutatingWebhookConfiguration: webhooks,
  ValidatingWebhookConfiguration: webhooks,
};

const withSpec = new Set(['Pod', 'Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob', 'Service']);

/** Fills in an object in place. */
export function applyDefaults(object: KubeObject): void {
  // Validation says what is missing in an object that has no spec at all.
  if (withSpec.has(object.kind)) fill(object, { spec: {} });
  rules[object.kind]?.(object);
}

/** Volume and mounts with which a pod reaches the API, as Kubernetes' service account admission adds them. */
export function mountServiceAccount(pod: KubeObject, automount: boolean): void {
  const wanted = pod.spec.automountServiceAccountToken ?? automount;
  pod.spec.serviceAccount = pod.spec.serviceAccountName;
  if (!wanted) return;
  const folder = '/var/run/secrets/kubernetes.io/serviceaccount';
  const containers: Json[] = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])];
  const lacking = containers.filter((one) => !one.volumeMounts?.some((mount: Json) => mount.mountPath === folder));
  if (lacking.length === 0) return;
  const name = 'kube-api-access-mesh0';
  if (!pod.spec.volumes?.some((volume: Json) => volume.name === name)) {
    pod.spec.volumes = [
      ...(pod.spec.volumes ?? []),
      {
        name,
        projected: {
          defaultMode: 420,
          sources: [
            { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
            { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
            {
              downwardAPI: {
                items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
              },
            },
          ],
        },
      },
    ];
  }
  for (const one of lacking)
    one.volumeMounts = [...(one.volumeMounts ?? []), { name, readOnly: true, mountPath: folder }];
}
