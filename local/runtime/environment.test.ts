import { describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { MemoryObjects } from '../controllers/test-objects.ts';
import { ConfigError, environmentOf, expand, quantity } from './environment.ts';

const node = { name: 'local', address: '10.244.0.1' };
const pod = (more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web-1', namespace: 'shop', uid: 'u', labels: { app: 'web' } },
  spec: { containers: [], ...more },
  status: { podIP: '10.244.0.9' },
});

describe('the environment of a container', () => {
  it('takes values from the pod, config maps and secrets, and expands earlier ones', async () => {
    const objects = new MemoryObjects();
    const meta = { namespace: 'shop' };
    await objects.create(resources.configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', ...meta },
      data: { color: 'red' },
    });
    await objects.create(resources.secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', ...meta },
      data: { word: 'c2VjcmV0' },
    });
    const made = environmentOf(
      objects,
      pod(),
      {
        envFrom: [{ prefix: 'C_', configMapRef: { name: 'c' } }],
        env: [
          { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
          { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
          { name: 'WORD', valueFrom: { secretKeyRef: { name: 's', key: 'word' } } },
          { name: 'URL', value: 'http://$(IP)/$(C_color)/$(NOTHING)/$$(IP)' },
          { name: 'MAYBE', valueFrom: { configMapKeyRef: { name: 'gone', key: 'x', optional: true } } },
        ],
      } as unknown as KubeObject,
      node,
    );
    expect(made).toMatchObject({
      IP: '10.244.0.9',
      APP: 'web',
      WORD: 'secret',
      C_color: 'red',
      URL: 'http://10.244.0.9/red/$(NOTHING)/$(IP)',
    });
    expect('MAYBE' in made).toBe(false);
  });

  it('names the reference that leads nowhere', () => {
    const container = { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'gone', key: 'x' } } }] };
    const make = (): unknown => environmentOf(new MemoryObjects(), pod(), container as unknown as KubeObject, node);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow('secret "gone" not found');
  });
});

it.each([
  ['100m', 0.1],
  ['64Mi', 67_108_864],
  ['2', 2],
  ['1e3', 1000],
])('reads the quantity %s as %d', (text, value) => {
  expect(quantity(text)).toBeCloseTo(value);
});

it('keeps a doubled dollar sign from expanding', () => {
  expect(expand('$$(A) $(A) $A', { A: 'x' })).toBe('$(A) x $A');
});
