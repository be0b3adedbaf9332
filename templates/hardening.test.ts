/** What security scanners look for first, held for everything that the mesh runs: its own pods and what it adds to others. */
import { describe, expect, test } from 'vitest';
import { injectPod } from '../inject/pod.ts';
import type { Json } from '../kube/types.ts';
import { defaultCni } from './cni.ts';
import { renderInstall } from './index.ts';

const image = 'mesh.dev/mesh:0.1.0';
const install = {
  ...{ image, version: '0.1.0', namespace: 'mesh-system', trustDomain: 'cluster.local', imagePullSecrets: [] },
  controlEnv: {},
};

/** Containers of a pod, each with what the pod says for all of them. */
function containersOf(spec: Json): [string, Json][] {
  return [...(spec.initContainers ?? []), ...spec.containers].map((container: Json) => [
    container.name,
    { ...container, securityContext: { ...spec.securityContext, ...container.securityContext } },
  ]);
}

function podsOf(cni: boolean): Json[] {
  const objects = renderInstall({ ...install, ha: true, ...(cni ? { cni: defaultCni } : {}) });
  return objects.flatMap(({ spec }) => (spec?.template ? [spec.template.spec] : []));
}

function added(cni: boolean): [string, Json][] {
  const spec = { containers: [{ name: 'main', image: 'app' }] };
  const owner = { kind: 'deployment', name: 'web', namespace: 'shop' };
  const options = { image, version: '0.1.0', trustDomain: 'cluster.local', cni, explicit: false };
  const result = injectPod({ metadata: { annotations: { 'mesh.dev/inject': 'enabled' } }, spec }, owner, options);
  if (result.outcome !== 'injected') throw new Error('the pod was not injected');
  return containersOf(result.template.spec as Json).filter(([name]) => name !== 'main');
}

const all = [
  ...podsOf(false).flatMap(containersOf),
  ...added(false),
  ...podsOf(true)
    .flatMap(containersOf)
    .filter(([name]) => name !== 'mesh-control'),
  ...added(true).filter(([name]) => name !== 'mesh-proxy'),
];

describe.each(all)('container %s', (name, container) => {
  const { securityContext: context, resources } = container;

  test('has no privilege and cannot gain any', () => {
    expect(context.privileged).not.toBe(true);
    expect(context.allowPrivilegeEscalation).toBe(false);
    expect(context.capabilities.drop).toEqual(['ALL']);
    // The redirect rules are the one thing that needs a right, and with the CNI plugin no pod needs it.
    expect(context.capabilities.add ?? []).toEqual(name === 'mesh-init' ? ['NET_ADMIN', 'NET_RAW'] : []);
  });

  test('writes to no root file system, and is confined', () => {
    expect(context.readOnlyRootFilesystem).toBe(true);
    expect(context.seccompProfile).toEqual({ type: 'RuntimeDefault' });
  });

  test('asks for what it uses', () => {
    expect(resources.requests).toEqual({ cpu: expect.stringMatching(/m$/), memory: expect.stringMatching(/Mi$/) });
  });
});

test('only what writes rules and files of a node runs as root', () => {
  const roots = all.filter(([, { securityContext }]) => securityContext.runAsNonRoot !== true).map(([name]) => name);
  expect(roots.sort()).toEqual(['mesh-cni', 'mesh-init']);
});

test('no pod of the control plane shares anything with its node', () => {
  for (const spec of podsOf(false)) {
    expect([spec.hostNetwork, spec.hostPID, spec.hostIPC].filter(Boolean)).toEqual([]);
    expect((spec.volumes ?? []).filter((volume: Json) => volume.hostPath)).toEqual([]);
  }
});
