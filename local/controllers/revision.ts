/** ControllerRevisions: the templates a StatefulSet or DaemonSet has had, for partitions, history and going back. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { controlledBy, ownedBy, templateHash } from './workload.ts';

export const revisionLabel = 'controller-revision-hash';
const defaultHistory = 10;

export interface Revision {
  /** Value of the pods' label. */
  name: string;
  template: Json;
}

const revisionOf = ({ metadata, data }: KubeObject): Revision => {
  const { $patch: _, ...template } = data.spec.template;
  return { name: metadata.labels![revisionLabel]!, template };
};

/** The revision of the present template, which becomes the newest; `inUse` are kept whatever their age. */
export async function currentRevision(objects: Objects, owner: KubeObject, inUse: string[]): Promise<Revision> {
  const { name, namespace } = owner.metadata;
  const label = `${name}-${templateHash(owner.spec.template)}`;
  const all = controlledBy<KubeObject>(objects, resources.controllerRevisions, owner).sort(
    (a, b) => b.revision - a.revision,
  );
  const newest: number = all[0]?.revision ?? 0;
  const known = all.find((one) => one.metadata.labels?.[revisionLabel] === label);
  if (!known) {
    await objects.create(resources.controllerRevisions, {
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: {
        name: label,
        namespace: namespace!,
        // kubectl finds the history of a workload by the labels of its pods.
        labels: { ...owner.spec.template.metadata?.labels, [revisionLabel]: label },
        ownerReferences: [ownedBy(owner)],
      },
      // The patch that brings the template back.
      data: { spec: { template: { ...structuredClone(owner.spec.template), $patch: 'replace' } } },
      revision: newest + 1,
    });
  } else if (known.revision < newest) {
    await objects.update(resources.controllerRevisions, { ...structuredClone(known), revision: newest + 1 });
  }
  const old = all.filter((one) => one !== known && !inUse.includes(one.metadata.labels?.[revisionLabel] ?? ''));
  for (const one of old.slice(owner.spec.revisionHistoryLimit ?? defaultHistory))
    await objects.delete(resources.controllerRevisions, one.metadata.name!, namespace);
  return { name: label, template: owner.spec.template };
}

/** A revision by the label of its pods; undefined where it is no longer kept. */
export function findRevision(objects: Objects, owner: KubeObject, name: string | undefined): Revision | undefined {
  const found = controlledBy<KubeObject>(objects, resources.controllerRevisions, owner).find(
    (one) => one.metadata.labels?.[revisionLabel] === name,
  );
  return found && revisionOf(found);
}
