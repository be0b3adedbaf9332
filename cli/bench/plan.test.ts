import { expect, test } from 'vitest';
import { injectPod } from '../../inject/index.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { planBench } from './plan.ts';
import type { Target } from './target.ts';

const template = {
  metadata: { labels: { app: 'web' }, annotations: { note: 'kept' } },
  spec: {
    serviceAccountName: 'web',
    terminationGracePeriodSeconds: 60,
    containers: [{ name: 'main', image: 'web:1', env: [{ name: 'A', value: 'b' }], ports: [{ containerPort: 8080 }] }],
    volumes: [{ name: 'settings', configMap: { name: 'web' } }],
  },
};

function target(changed: Json = template, name = 'web'): Target {
  return {
    deployment: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: 'shop' },
      spec: { replicas: 9, selector: { matchLabels: { app: 'web' } }, template: changed },
    },
    ...{ namespace: 'shop', path: '/', authority: undefined },
    port: { port: 80, targetPort: 8080 },
    serviceAnnotations: { 'config.mesh.dev/opaque-ports': '9' },
  };
}

const options = { image: 'mesh:1', replicas: 2, until: new Date('2026-01-01T00:00:00Z'), deadlineSeconds: 600 };
const find = (objects: KubeObject[], kind: string, name: string): KubeObject =>
  objects.find((one) => one.kind === kind && one.metadata.name === name)!;

test('two copies of the workload, one of them with a proxy, as it is but for the labels', () => {
  const { objects, names } = planBench(target(), options);
  expect(objects).toHaveLength(6);
  for (const [mode, inject] of [
    ['without', 'disabled'],
    ['mesh', 'enabled'],
  ] as const) {
    const { spec } = find(objects, 'Deployment', names[mode].server);
    expect(spec.replicas).toBe(2);
    expect(spec.template.spec).toEqual({ ...template.spec, terminationGracePeriodSeconds: 2 });
    expect(spec.template.metadata.annotations).toEqual({ note: 'kept', 'mesh.dev/inject': inject });
    expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels);
    expect(spec.template.metadata.labels).not.toHaveProperty('app');
    const service = find(objects, 'Service', names[mode].server);
    expect(service.spec).toEqual({
      selector: spec.selector.matchLabels,
      ports: [{ name: 'bench', port: 80, targetPort: 8080 }],
    });
    expect(service.metadata.annotations).toMatchObject({ 'config.mesh.dev/opaque-ports': '9' });
    const load = find(objects, 'Pod', names[mode].load);
    expect(load.metadata.annotations).toMatchObject({ 'mesh.dev/inject': inject });
    expect(load.spec).toMatchObject({ activeDeadlineSeconds: 600, restartPolicy: 'Never' });
    expect(load.spec.containers[0].image).toBe('mesh:1');
  }
});

test('what the manifest has of the mesh is taken out of both copies', () => {
  const settings = { image: 'mesh:1', version: '1', trustDomain: 'cluster.local', explicit: true };
  const injected = injectPod(template, { kind: 'deployment', name: 'web' }, settings);
  if (injected.outcome !== 'injected') throw new Error(injected.reason);
  expect(planBench(target(injected.template), options)).toEqual(planBench(target(), options));
});

test('names stay short enough for a Service', () => {
  const { objects } = planBench(target(template, `a.${'b'.repeat(200)}`), options);
  for (const { metadata } of objects) expect(metadata.name).toMatch(/^[a-z][-a-z0-9]{0,61}[a-z0-9]$/);
});

const spec = (more: Json): Json => ({ ...template, spec: { ...template.spec, ...more } });
test.each([
  [spec({ volumes: [{ name: 'd', persistentVolumeClaim: { claimName: 'd' } }] }), 'its volume d is claimed'],
  [spec({ containers: [{ name: 'main', ports: [{ hostPort: 80 }] }] }), 'it takes port 80 of its node'],
  [spec({ hostNetwork: true }), 'hostNetwork is true'],
])('what cannot be copied is refused: %#', (changed, reason) => {
  expect(() => planBench(target(changed), options)).toThrow(
    expect.objectContaining({ code: 'cannot-bench', message: expect.stringContaining(reason) }),
  );
});
