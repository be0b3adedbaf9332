/** Names that more than one part writes or reads: namespaces, objects, annotations, labels. */

export const controlNamespace = 'mesh-system';
/** Deployment, Service and ServiceAccount of the control plane. */
export const controlName = 'mesh-control';
/** ConfigMap with key `ca.crt`, kept in every namespace by the control plane. */
export const trustBundleConfigMap = 'mesh-trust-bundle';
/** Secret with the root's and the issuer's certificate and key. */
export const identitySecret = 'mesh-identity';
/** Secret with an issuer of the user's own, in the shape of cert-manager (`tls.crt`, `tls.key`, `ca.crt`). */
export const issuerSecret = 'mesh-issuer';
/** The webhook's configuration. */
export const webhookName = 'mesh-injector';
/** DaemonSet of the CNI plugin, its namespace, account and roles, and the plugin itself on each node. */
export const cniName = 'mesh-cni';
/** Audience of the projected token a proxy proves its service account with. */
export const tokenAudience = 'mesh';
export const defaultTrustDomain = 'cluster.local';
export const clusterDomain = 'cluster.local';

/** The one image of control plane, proxy and init step, and that of the example shop; their programs lie in /opt/mesh. */
export const imageRepository = 'mesh.dev/mesh';
export const exampleRepository = 'mesh.dev/shop';
export const imageRoot = '/opt/mesh';

/** Containers that injection adds. */
export const initContainer = 'mesh-init';
export const validateContainer = 'mesh-validate';
export const proxyContainer = 'mesh-proxy';

/** Prefix of the mesh's own annotations and labels. */
export const meshPrefix = 'mesh.dev/';
/** `enabled` or `disabled`, on a namespace or a pod template; the pod's wins. */
export const injectAnnotation = 'mesh.dev/inject';
/** Prefix of the few settings, on a namespace (default for its pods) or a pod template. */
export const configPrefix = 'config.mesh.dev/';
/** Written by injection on the pod template: version of the proxy, and what `uninject` must put back. */
export const proxyVersionAnnotation = 'mesh.dev/proxy-version';
/** Written by injection, e.g. `deployment/web`: the workload that traffic of this pod counts for. */
export const workloadAnnotation = 'mesh.dev/workload';
/** Written by injection: the fields it had to create (`labels`) or fill (`labels=null`), for `uninject` to put back. */
export const createdAnnotation = 'mesh.dev/created';
/** Written by injection where the CNI plugin is to write the redirect rules; see redirect.ts. */
export const redirectAnnotation = 'mesh.dev/redirect';
/** Written by `mesh inject --annotation-only`: that it was here, and the fields it had to create. */
export const annotatedAnnotation = 'mesh.dev/annotated';
/** Label on every pod with a proxy; value `enabled`. */
export const meshedLabel = 'mesh.dev/proxy';
