/**
 * The CNI plugin: a DaemonSet whose pods lay the plugin on their nodes. In a namespace of its own, since it alone needs
 * folders of the host; the control plane's stays `restricted`.
 */
import type { KubeObject } from '../kube/types.ts';
import { cniName, imageRoot } from '../protocol/names.ts';
import { cniAdminPort } from '../protocol/ports.ts';
import type { CniOptions, InstallOptions } from './index.ts';
import type { Rule } from './rbac.ts';

type Labels = Record<string, string>;

export const defaultCni: CniOptions = { binDir: '/opt/cni/bin', confDir: '/etc/cni/net.d' };

/** On the Deployment of the control plane: what an install was told, for an upgrade to keep. */
const binDirAnnotation = 'mesh.dev/cni-bin-dir';
const confDirAnnotation = 'mesh.dev/cni-conf-dir';

export function cniAnnotations(cni: CniOptions | undefined): { annotations?: Labels } {
  return cni ? { annotations: { [binDirAnnotation]: cni.binDir, [confDirAnnotation]: cni.confDir } } : {};
}

/** What the control plane was installed with; undefined without the plugin. */
export function cniOf({ metadata }: KubeObject): CniOptions | undefined {
  const { [binDirAnnotation]: binDir, [confDirAnnotation]: confDir } = metadata.annotations ?? {};
  return binDir !== undefined && confDir !== undefined ? { binDir, confDir } : undefined;
}

/** What the plugin asks where the container runtime does not tell it of a pod. */
export const cniClusterRules: Rule[] = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }];

/** What the agent asks when it ends: whether the plugin is to go too. */
export const cniNamespaceRules: Rule[] = [
  { apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: [cniName], verbs: ['get'] },
  { apiGroups: [''], resources: ['namespaces'], resourceNames: [cniName], verbs: ['get'] },
];

export function cniObjects(options: InstallOptions, cni: CniOptions): KubeObject[] {
  const selector = { 'app.kubernetes.io/name': cniName };
  const labels = { ...selector, 'app.kubernetes.io/part-of': 'mesh', 'app.kubernetes.io/version': options.version };
  const metadata = { name: cniName, namespace: cniName, labels };
  const group = 'rbac.authorization.k8s.io';
  const apiVersion = `${group}/v1`;
  const subjects = [{ kind: 'ServiceAccount', name: cniName, namespace: cniName }];
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: cniName, labels: { ...labels, 'pod-security.kubernetes.io/enforce': 'privileged' } },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    { apiVersion, kind: 'ClusterRole', metadata: { name: cniName, labels }, rules: cniClusterRules },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: { name: cniName, labels },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: cniName },
      subjects,
    },
    { apiVersion, kind: 'Role', metadata, rules: cniNamespaceRules },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: group, kind: 'Role', name: cniName },
      subjects,
    },
    daemonSet(options, cni, labels, selector),
  ];
}

function daemonSet(options: InstallOptions, cni: CniOptions, labels: Labels, selector: Labels): KubeObject {
  const folders = { 'cni-bin': cni.binDir, 'cni-conf': cni.confDir };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: cniName, namespace: cniName, labels },
    spec: {
      // The plugin does its work while no agent runs.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%' } },
      selector: { matchLabels: selector },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: cniName,
          enableServiceLinks: false,
          // An agent that had to wait for the network of pods could not mend it.
          hostNetwork: true,
          priorityClassName: 'system-node-critical',
          tolerations: [{ operator: 'Exists' }],
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          terminationGracePeriodSeconds: 8,
          ...(options.imagePullSecrets.length > 0
            ? { imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })) }
            : {}),
          containers: [agent(options.image, cni, Object.entries(folders))],
          volumes: Object.entries(folders).map(([name, path]) => ({
            name,
            hostPath: { path, type: 'DirectoryOrCreate' },
          })),
        },
      },
    },
  };
}

function agent(image: string, cni: CniOptions, folders: [name: string, path: string][]): object {
  return {
    name: cniName,
    image,
    imagePullPolicy: 'IfNotPresent',
    command: [`${imageRoot}/node`, '--disable-warning=ExperimentalWarning', `${imageRoot}/cni-agent.js`],
    env: [
      { name: 'MESH_CNI_BIN_DIR', value: cni.binDir },
      { name: 'MESH_CNI_CONF_DIR', value: cni.confDir },
    ],
    readinessProbe: {
      httpGet: { host: '127.0.0.1', path: '/ready', port: cniAdminPort },
      periodSeconds: 2,
      failureThreshold: 1,
    },
    resources: { requests: { cpu: '10m', memory: '64Mi' } },
    // Root, to write where only root may; nothing else of root.
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: folders.map(([name, path]) => ({ name, mountPath: path })),
  };
}
