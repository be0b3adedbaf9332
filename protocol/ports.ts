/** Ports and the users every part of the mesh agrees on. */

/** Where outbound connections of the application are redirected to; listens on loopback only. */
export const outboundPort = 4140;
/** Where inbound connections of peers without a proxy are redirected to. */
export const inboundPort = 4143;
/** HBONE: mutual TLS, HTTP/2, one CONNECT stream per carried TCP connection. */
export const hbonePort = 15008;
/** `/ready`, `/live`, `/metrics`, `/env.json` of a proxy; to its pod's loopback `/state.json` and what can be changed. */
export const adminPort = 4191;
/** The proxy runs as this user; its own traffic is not redirected. */
export const proxyUid = 2102;
/** The control plane's user. Not the proxy's: redirect rules tell the two apart. */
export const controlUid = 2103;
/** The user of `mesh-validate`: any but the proxy's, since its traffic must be redirected. */
export const validateUid = 2104;

/** Control plane, port of the Service `mesh-control` and of its pods. */
export const identityPort = 8080;
export const discoveryPort = 8086;
/** The injector's webhook, on the pod; the Service has it on 443. */
export const injectorPort = 8443;
/** API for the CLI, on the pod's loopback: only a port-forward, and with it Kubernetes' own rights, reaches it. */
export const apiPort = 8085;
/** Replicas of the control plane tell each other what their proxies report. */
export const peerPort = 8087;
/** `/ready`, `/live`, `/metrics` of the control plane. */
export const controlAdminPort = 9990;
/** `/ready` of the agent of the CNI plugin, on its node's loopback. */
export const cniAdminPort = 9991;
