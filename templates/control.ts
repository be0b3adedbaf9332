/** The control plane's Deployment and Service. */
import type { KubeObject } from '../kube/types.ts';
import { controlName, imageRoot } from '../protocol/names.ts';
import {
  controlAdminPort,
  controlUid,
  discoveryPort,
  identityPort,
  injectorPort,
  peerPort,
} from '../protocol/ports.ts';
import { haReplicas, spread } from './availability.ts';
import { cniAnnotations } from './cni.ts';
import type { InstallOptions } from './index.ts';

type Labels = Record<string, string>;

export function controlDeployment(options: InstallOptions, labels: Labels, selector: Labels): KubeObject {
  const probe = (path: string) => ({ httpGet: { path, port: 'admin' }, periodSeconds: 5 });
  const extra = Object.entries(options.controlEnv).sort(([a], [b]) => (a < b ? -1 : 1));
  const container = {
    name: controlName,
    image: options.image,
    imagePullPolicy: 'IfNotPresent',
    // Short-lived objects die young in a small nursery: some megabytes less, and no slower at this rate. With a thousand
    // proxies 40 MB live, and 100 MB wait to be collected unless the heap may grow by a fifth only.
    command: [
      `${imageRoot}/node`,
      '--disable-warning=ExperimentalWarning',
      '--max-semi-space-size=2',
      '--heap-growing-percent=20',
      `${imageRoot}/control.js`,
    ],
    env: [
      // glibc: one heap for all threads. One thread allocates at a time; heaps of their own cost the others 3 MB.
      { name: 'MALLOC_ARENA_MAX', value: '1' },
      { name: 'MESH_CONTROL_TRUST_DOMAIN', value: options.trustDomain },
      { name: 'MESH_CONTROL_NAMESPACE', value: options.namespace },
      { name: 'MESH_CONTROL_IMAGE', value: options.image },
      ...(options.cni ? [{ name: 'MESH_CONTROL_CNI', value: 'true' }] : []),
      ...extra.map(([name, value]) => ({ name, value })),
    ],
    ports: [
      { name: 'identity', containerPort: identityPort },
      { name: 'discovery', containerPort: discoveryPort },
      { name: 'injector', containerPort: injectorPort },
      { name: 'peer', containerPort: peerPort },
      { name: 'admin', containerPort: controlAdminPort },
    ],
    startupProbe: { ...probe('/ready'), periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: probe('/ready'),
    livenessProbe: probe('/live'),
    resources: { requests: { cpu: '50m', memory: '64Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: controlName, namespace: options.namespace, labels, ...cniAnnotations(options.cni) },
    spec: {
      replicas: options.ha ? haReplicas : 1,
      // A new replica serves before an old one goes.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: selector },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: controlName,
          enableServiceLinks: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: controlUid,
            runAsGroup: controlUid,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          ...(options.ha ? { affinity: spread(selector) } : {}),
          ...(options.imagePullSecrets.length > 0
            ? { imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })) }
            : {}),
          containers: [container],
        },
      },
    },
  };
}

export function controlService(namespace: string, labels: Labels, selector: Labels): KubeObject {
  const port = (name: string, number: number) => ({ name, port: number, protocol: 'TCP', targetPort: name });
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: controlName, namespace, labels },
    spec: {
      selector,
      ports: [port('identity', identityPort), port('discovery', discoveryPort), port('injector', 443)],
    },
  };
}
