/** Ways in which parts of the mesh go away. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { controlName, controlNamespace } from '../../protocol/names.ts';
import type { LocalMesh } from './local-mesh.ts';
import { type TestMesh, until } from './mesh.ts';

interface Deployment extends KubeObject {
  status: { replicas?: number; readyReplicas?: number };
}

/** 0 kills the control plane without grace and keeps it away; more lets it come back. */
export async function scaleControl(mesh: Pick<TestMesh, 'client'>, replicas: number): Promise<void> {
  await mesh.client.patch(resources.deployments, controlName, controlNamespace, { spec: { replicas } });
  const labelSelector = `app.kubernetes.io/name=${controlName}`;
  if (replicas === 0) {
    for (const pod of await mesh.client.list(resources.pods, { namespace: controlNamespace, labelSelector }))
      await mesh.client.delete(resources.pods, pod.metadata.name!, controlNamespace, { gracePeriodSeconds: 0 });
  }
  await until(
    `${replicas} control planes`,
    async () => {
      const pods = await mesh.client.list(resources.pods, { namespace: controlNamespace, labelSelector });
      const { status } = await mesh.client.get<Deployment>(resources.deployments, controlName, controlNamespace);
      return pods.length === replicas && (status.readyReplicas ?? 0) === replicas;
    },
    60,
  );
}

/** Kills the daemon of the local mesh; resolves when its successor's API answers. */
export async function killDaemon(mesh: LocalMesh): Promise<void> {
  const daemon = () => {
    try {
      return (JSON.parse(readFileSync(join(mesh.home, 'run/daemon.json'), 'utf8')) as { pid: number }).pid;
    } catch {
      return undefined; // It is being written.
    }
  };
  const before = daemon()!;
  process.kill(before, 'SIGKILL');
  await until('another daemon', () => daemon() !== undefined && daemon() !== before);
  await until('its API', () =>
    mesh.client.version().then(
      () => true,
      () => false,
    ),
  );
}
