/** The injector's webhook. Its caBundle belongs to the control plane, so that applying this again keeps it. */
import type { KubeObject } from '../kube/types.ts';
import { controlName, meshedLabel, webhookName } from '../protocol/names.ts';

export function injectorWebhook(namespace: string, labels: Record<string, string>): KubeObject {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: webhookName, labels },
    webhooks: [
      {
        name: 'injector.mesh.dev',
        clientConfig: { service: { name: controlName, namespace, path: '/inject', port: 443 } },
        rules: [
          { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'], scope: 'Namespaced' },
        ],
        // A control plane that is away must not keep anyone's pods from starting.
        failurePolicy: 'Ignore',
        // It writes events, and none for a dry run.
        sideEffects: 'NoneOnDryRun',
        admissionReviewVersions: ['v1'],
        timeoutSeconds: 5,
        reinvocationPolicy: 'IfNeeded',
        namespaceSelector: {
          matchExpressions: [
            { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', namespace] },
          ],
        },
        objectSelector: { matchExpressions: [{ key: meshedLabel, operator: 'DoesNotExist' }] },
      },
    ],
  };
}
