/** The containers and volumes that injection adds to a pod. */
import {
  controlName,
  controlNamespace,
  imageRoot,
  initContainer,
  proxyContainer,
  tokenAudience,
  trustBundleConfigMap,
  validateContainer,
} from '../protocol/names.ts';
import {
  adminPort,
  discoveryPort,
  hbonePort,
  identityPort,
  inboundPort,
  proxyUid,
  validateUid,
} from '../protocol/ports.ts';
import type { SettingName } from './settings.ts';
import type { InjectOptions, PodOwner, PodTemplate } from './types.ts';

type Settings = Partial<Record<SettingName, string>>;
type Plain = Record<string, unknown>;

const tokenVolume = 'mesh-token';
const trustVolume = 'mesh-trust';
export const meshVolumes: readonly string[] = [tokenVolume, trustVolume];
export const meshContainers: readonly string[] = [initContainer, validateContainer, proxyContainer];

const node = [`${imageRoot}/node`, '--disable-warning=ExperimentalWarning'];

/**
 * A small nursery, collected by the proxy's own thread: helper threads of the collector would wait for a processor that
 * the application has, and every request with them (measured at 8 connections on two busy processors: 38 µs of
 * processor time per request in place of 56, p99 1.5 ms in place of 5).
 */
const collector = ['--max-semi-space-size=1', '--single-threaded-gc'];

/** One thread compiles, not four that take the processors from requests together (proxy/process/compile-priority.ts). */
const compiler = ['--v8-pool-size=1'];

function fieldRef(name: string, fieldPath: string): Plain {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** Writes the redirect rules once, before anything else in the pod runs. */
export function initStep(options: InjectOptions, settings: Settings): Plain {
  const env: Plain[] = [];
  const inbound = settings['skip-inbound-ports'];
  const outbound = settings['skip-outbound-ports'];
  if (inbound !== undefined) env.push({ name: 'MESH_INIT_SKIP_INBOUND_PORTS', value: inbound });
  if (outbound !== undefined) env.push({ name: 'MESH_INIT_SKIP_OUTBOUND_PORTS', value: outbound });
  return {
    name: initContainer,
    image: options.image,
    command: [...node, `${imageRoot}/init.js`],
    ...(env.length > 0 ? { env } : {}),
    resources: { requests: { cpu: '10m', memory: '32Mi' } },
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

/** What pod security level `restricted` asks of a container. */
const unprivileged = (uid: number): Plain => ({
  runAsUser: uid,
  runAsGroup: uid,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
});

/** Where the CNI plugin writes the rules: ends well once they are there, and keeps the pod from starting without. */
export function validateStep(options: InjectOptions, settings: Settings): Plain {
  const outbound = settings['skip-outbound-ports'];
  return {
    name: validateContainer,
    image: options.image,
    command: [...node, `${imageRoot}/validate.js`],
    env: [
      fieldRef('MESH_VALIDATE_NODE_NAME', 'spec.nodeName'),
      ...(outbound === undefined ? [] : [{ name: 'MESH_VALIDATE_SKIP_OUTBOUND_PORTS', value: outbound }]),
    ],
    resources: { requests: { cpu: '10m', memory: '32Mi' } },
    securityContext: unprivileged(validateUid),
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

/** The proxy, as a native sidecar: up before other init containers, gone after the application. */
export function proxySidecar(
  template: PodTemplate,
  owner: PodOwner,
  options: InjectOptions,
  settings: Settings,
): Plain {
  const grace = settings['shutdown-grace-period'];
  const env: Plain[] = [
    // glibc: one heap for all threads. One thread allocates at a time; heaps of their own cost the others 4 MB.
    { name: 'MALLOC_ARENA_MAX', value: '1' },
    fieldRef('MESH_PROXY_POD_NAME', 'metadata.name'),
    fieldRef('MESH_PROXY_POD_NAMESPACE', 'metadata.namespace'),
    fieldRef('MESH_PROXY_POD_IPS', 'status.podIPs'),
    fieldRef('MESH_PROXY_NODE_NAME', 'spec.nodeName'),
    { name: 'MESH_PROXY_SERVICE_ACCOUNT', value: String(template.spec.serviceAccountName || 'default') },
    { name: 'MESH_PROXY_WORKLOAD', value: `${owner.kind}/${owner.name}` },
    { name: 'MESH_PROXY_TRUST_DOMAIN', value: options.trustDomain },
    { name: 'MESH_PROXY_CONTROL_HOST', value: `${controlName}.${controlNamespace}.svc.cluster.local` },
    { name: 'MESH_PROXY_IDENTITY_PORT', value: String(identityPort) },
    { name: 'MESH_PROXY_DISCOVERY_PORT', value: String(discoveryPort) },
    {
      name: 'MESH_PROXY_CONTROL_IDENTITY',
      value: `spiffe://${options.trustDomain}/ns/${controlNamespace}/sa/${controlName}`,
    },
    { name: 'MESH_PROXY_TRUST_BUNDLE_FILE', value: '/var/run/mesh/trust/ca.crt' },
    { name: 'MESH_PROXY_TOKEN_FILE', value: '/var/run/mesh/token/token' },
  ];
  if (settings['opaque-ports'] !== undefined)
    env.push({ name: 'MESH_PROXY_OPAQUE_PORTS', value: settings['opaque-ports'] });
  if (settings['load-shedding'] !== undefined) {
    env.push({ name: 'MESH_PROXY_LOAD_SHEDDING', value: settings['load-shedding'] });
  }
  if (grace !== undefined) env.push({ name: 'MESH_PROXY_GRACE_PERIOD', value: grace.replace(/s$/, '') });
  if (settings['proxy-log-level'] !== undefined) {
    env.push({ name: 'MESH_PROXY_LOG_LEVEL', value: settings['proxy-log-level'] });
  }
  if (settings['access-log'] !== undefined) env.push({ name: 'MESH_PROXY_ACCESS_LOG', value: settings['access-log'] });
  const probe = (path: string) => ({ httpGet: { path, port: adminPort } });
  return {
    name: proxyContainer,
    image: options.image,
    command: [...node, ...collector, ...compiler, `${imageRoot}/proxy.js`],
    restartPolicy: 'Always',
    env,
    ports: [
      { name: 'mesh-inbound', containerPort: inboundPort },
      { name: 'mesh-hbone', containerPort: hbonePort },
      { name: 'mesh-admin', containerPort: adminPort },
    ],
    startupProbe: { ...probe('/ready'), periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: { ...probe('/ready'), periodSeconds: 5 },
    livenessProbe: { ...probe('/live'), periodSeconds: 10 },
    resources: {
      requests: {
        cpu: settings['proxy-cpu-request'] ?? '20m',
        memory: settings['proxy-memory-request'] ?? '64Mi',
      },
    },
    securityContext: unprivileged(proxyUid),
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: tokenVolume, mountPath: '/var/run/mesh/token', readOnly: true },
      { name: trustVolume, mountPath: '/var/run/mesh/trust', readOnly: true },
    ],
  };
}

/** The proxy's own token (so that automountServiceAccountToken may be false) and the trust bundle it needs to start. */
export function volumes(): Plain[] {
  return [
    {
      name: tokenVolume,
      projected: {
        defaultMode: 0o644,
        sources: [{ serviceAccountToken: { audience: tokenAudience, expirationSeconds: 86400, path: 'token' } }],
      },
    },
    {
      name: trustVolume,
      configMap: { name: trustBundleConfigMap, items: [{ key: 'ca.crt', path: 'ca.crt' }] },
    },
  ];
}
