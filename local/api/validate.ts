/** What an object must be to be stored. Each function throws a StatusError that says what is wrong. */
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { matches } from '../controllers/workload.ts';
import { type CustomKind, definitionProblems, fitCustom } from './custom.ts';
import { invalid, invalidFields } from './status-error.ts';

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

export function checkName(type: ResourceType, object: KubeObject): void {
  const { name } = object.metadata;
  if (!name) throw invalid(type.kind, '', 'metadata.name', 'Required value: name or generateName is required');
  const strict = type.kind === 'Service' || type.kind === 'Namespace';
  const rbac = type.group === 'rbac.authorization.k8s.io';
  if (!rbac && (name.length > (strict ? 63 : 253) || !(strict ? label : subdomain).test(name))) {
    throw invalid(
      type.kind,
      name,
      'metadata.name',
      `Invalid value: "${name}": a lowercase RFC 1123 ${strict ? 'label' : 'subdomain'} must consist of lower case alphanumeric characters, '-'${strict ? '' : " or '.'"}, and must start and end with an alphanumeric character`,
    );
  }
  if (type.namespaced && !object.metadata.namespace)
    throw invalid(type.kind, name, 'metadata.namespace', 'Required value');
}

/** Prunes, fills in and checks a custom object, in place. */
export function conform(type: ResourceType, custom: CustomKind, object: KubeObject): void {
  const problems = fitCustom(custom, object);
  if (problems.length > 0) throw invalidFields(type, object.metadata.name!, problems);
}

export function validate(type: ResourceType, object: KubeObject): void {
  const name = object.metadata.name!;
  if (type.kind === 'CustomResourceDefinition') {
    const problems = definitionProblems(object);
    if (problems.length > 0) throw invalidFields(type, name, problems);
  }
  const template = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet'].includes(type.kind);
  if (template) {
    if (!object.spec?.template?.spec) throw invalid(type.kind, name, 'spec.template', 'Required value');
    if (!object.spec.selector) throw invalid(type.kind, name, 'spec.selector', 'Required value');
    if (!matches(object.spec.selector, object.spec.template.metadata?.labels))
      throw invalid(
        type.kind,
        name,
        'spec.template.metadata.labels',
        'Invalid value: `selector` does not match template `labels`',
      );
  }
  if (type.kind === 'Job' && !object.spec?.template?.spec)
    throw invalid(type.kind, name, 'spec.template', 'Required value');
  if (type.kind === 'CronJob' && !(object.spec?.schedule && object.spec.jobTemplate?.spec?.template?.spec))
    throw invalid(type.kind, name, 'spec.schedule, spec.jobTemplate', 'Required value');
  const pod = type.kind === 'Pod' ? object.spec : template ? object.spec.template.spec : undefined;
  if (pod) {
    if (!pod.containers?.length)
      throw invalid(
        type.kind,
        name,
        type.kind === 'Pod' ? 'spec.containers' : 'spec.template.spec.containers',
        'Required value',
      );
    const seen = new Set<string>();
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      if (!container.name) throw invalid(type.kind, name, 'spec.containers[].name', 'Required value');
      if (seen.has(container.name))
        throw invalid(type.kind, name, 'spec.containers[].name', `Duplicate value: "${container.name}"`);
      seen.add(container.name);
    }
  }
  if (
    type.kind === 'Service' &&
    object.spec?.type !== 'ExternalName' &&
    object.spec?.clusterIP !== 'None' &&
    !object.spec?.ports?.length
  ) {
    throw invalid('Service', name, 'spec.ports', 'Required value');
  }
}
