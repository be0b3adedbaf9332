import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { FakeKube } from '../fake-kube.ts';
import { pod, putShop, slice } from '../test-parts.ts';
import { Cluster } from './index.ts';
import { keptPod } from './kept.ts';

test('a pod is kept as far as it is read', () => {
  const whole = pod('web-a', '10.244.0.2');
  const { spec, status, metadata } = whole;
  const kept = keptPod({
    ...whole,
    metadata: {
      ...metadata,
      managedFields: [{ manager: 'kubelet' }],
      annotations: { ...metadata.annotations, 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
    },
    spec: {
      ...spec,
      volumes: [{ name: 'data' }],
      readinessGates: [{ conditionType: 'gate' }],
      containers: [{ name: 'web', image: 'web:1', ports: [{ containerPort: 8080 }], env: [{ name: 'A', value: 'b' }] }],
      initContainers: [
        {
          name: 'mesh-proxy',
          env: [
            { name: 'MESH_PROXY_OPAQUE_PORTS', value: '3306' },
            { name: 'OTHER', value: 'x' },
          ],
        },
      ],
    },
    status: {
      ...status,
      containerStatuses: [{ name: 'web' }],
      conditions: ['ContainersReady', 'gate', 'Ready'].map((type) => ({ type, status: 'True', message: 'long' })),
    },
  });
  expect(kept).toEqual({
    ...whole,
    spec: {
      serviceAccountName: 'web',
      readinessGates: [{ conditionType: 'gate' }],
      containers: [{ name: 'web', image: 'web:1', ports: [{ containerPort: 8080 }] }],
      initContainers: [{ name: 'mesh-proxy', env: [{ name: 'MESH_PROXY_OPAQUE_PORTS', value: '3306' }] }],
    },
    status: {
      ...status,
      conditions: ['ContainersReady', 'gate'].map((type) => ({ type, status: 'True' })),
    },
  });
});

test('an address leads to the services that have it among their endpoints, and to no other of its namespace', () => {
  const kube = new FakeKube();
  putShop(kube);
  const cluster = new Cluster(kube);
  const behind = (ip: string) => [...cluster.servicesBehind(ip)];
  expect(behind('10.244.0.2')).toEqual(['shop/web']);
  // A second slice names it too, and goes again.
  const second = slice([['10.244.0.2'], ['10.244.0.9']]);
  second.metadata.name = 'web-2';
  kube.put(resources.endpointSlices, second);
  expect(behind('10.244.0.9')).toEqual(['shop/web']);
  kube.remove(resources.endpointSlices, 'web-2', 'shop');
  expect([behind('10.244.0.2'), behind('10.244.0.9')]).toEqual([['shop/web'], []]);
  kube.put(resources.endpointSlices, slice([['10.244.0.3']]));
  expect(behind('10.244.0.2')).toEqual([]);
});
