/**
 * Who may reach the control plane: proxies and API servers, whose addresses no policy can name, on the ports that
 * authenticate them, and those who scrape metrics. Nothing else in the namespace takes connections.
 */
import type { KubeObject } from '../kube/types.ts';
import { controlName } from '../protocol/names.ts';
import { controlAdminPort, discoveryPort, identityPort, injectorPort, peerPort } from '../protocol/ports.ts';

export function controlNetworkPolicy(namespace: string, labels: Record<string, string>): KubeObject {
  const ports = (numbers: number[]) => numbers.map((port) => ({ protocol: 'TCP', port }));
  const replicas = { podSelector: { matchLabels: { 'app.kubernetes.io/name': controlName } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: controlName, namespace, labels },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress'],
      ingress: [
        { ports: ports([identityPort, discoveryPort, injectorPort, controlAdminPort]) },
        { from: [replicas], ports: ports([peerPort]) },
      ],
    },
  };
}
