/** Pod template → meshed pod template, and back. Pure: the result depends on the arguments alone. */
import {
  annotatedAnnotation,
  createdAnnotation,
  injectAnnotation,
  meshedLabel,
  proxyContainer,
  proxyVersionAnnotation,
  redirectAnnotation,
  workloadAnnotation,
} from '../protocol/names.ts';
import { formatRedirect } from '../protocol/redirect.ts';
import type { InjectCode } from './codes.ts';
import { initStep, meshContainers, meshVolumes, proxySidecar, validateStep, volumes } from './containers.ts';
import { containersOf, obstacle, remarks } from './obstacles.ts';
import { readSettings } from './settings.ts';
import type { InjectOptions, InjectResult, PodOwner, PodTemplate } from './types.ts';

const ownAnnotations = [proxyVersionAnnotation, workloadAnnotation, redirectAnnotation, createdAnnotation];

/** Adds the proxy to a pod; why not, where it cannot or should not. */
export function injectPod(template: PodTemplate, owner: PodOwner, options: InjectOptions): InjectResult {
  const annotations = template.metadata?.annotations ?? {};
  const namespaced = options.namespaceAnnotations ?? {};
  const { values, problems } = readSettings(namespaced, annotations);
  const wanted = annotations[injectAnnotation] ?? namespaced[injectAnnotation];
  const no = (outcome: 'unchanged' | 'skipped' | 'failed', code: InjectCode, reason: string): InjectResult => ({
    outcome,
    code,
    reason,
    // A webhook that nobody asked about this pod has nothing to say.
    warnings: options.explicit || wanted === undefined ? [] : problems,
  });
  if (wanted === 'disabled') return no('skipped', 'annotation-disabled', `${injectAnnotation} is disabled`);
  // Who runs `mesh inject` corrects it there; the webhook keeps no pod from starting over a word.
  if (options.explicit && problems.length > 0) return no('failed', 'bad-annotation', problems.join('; '));
  if (!options.explicit && wanted !== 'enabled') {
    return no('skipped', 'annotation-absent', `${injectAnnotation} is not enabled on the pod or its namespace`);
  }
  const { spec } = template;
  const all = [...containersOf(spec.containers), ...containersOf(spec.initContainers)];
  if (all.some((container) => container.name === proxyContainer)) {
    const there = annotations[proxyVersionAnnotation];
    const other = there !== undefined && there !== options.version;
    const reason = other ? `already injected by version ${there} (this is ${options.version})` : 'already injected';
    return no('unchanged', 'already-injected', reason);
  }
  const found = obstacle(template);
  if (found) return no('failed', found.code, found.reason);

  const warnings = [...problems, ...remarks(template)];
  const created = [...missing(template), ...missingIn(spec, ['initContainers', 'volumes'])];
  return {
    outcome: 'injected',
    warnings,
    template: {
      ...template,
      metadata: {
        ...template.metadata,
        labels: { [meshedLabel]: 'enabled', ...template.metadata?.labels },
        annotations: {
          [proxyVersionAnnotation]: options.version,
          [workloadAnnotation]: `${owner.kind}/${owner.name}`,
          ...(created.length > 0 ? { [createdAnnotation]: created.join(',') } : {}),
          ...annotations,
          ...(options.cni ? { [redirectAnnotation]: redirectOf(values) } : {}),
        },
      },
      spec: {
        ...spec,
        initContainers: [
          options.cni ? validateStep(options, values) : initStep(options, values),
          proxySidecar(template, owner, options, values),
          ...(spec.initContainers ?? []),
        ],
        volumes: [...volumes(), ...(spec.volumes ?? [])],
      },
    },
  };
}

/** The settings in force, a namespace's among them, since the CNI plugin sees the pod alone. */
function redirectOf(values: ReturnType<typeof readSettings>['values']): string {
  return formatRedirect(values['skip-inbound-ports'], values['skip-outbound-ports']);
}

/** Which of `keys` the holder lacks (`labels`) or has without a value (`labels=null`). */
function missingIn(holder: object | undefined | null, keys: readonly string[]): string[] {
  const fields = { ...holder } as Record<string, unknown>;
  return keys.flatMap((key) => {
    if (!Object.hasOwn(fields, key)) return [key];
    return fields[key] === null ? [`${key}=null`] : [];
  });
}

function missing(template: Annotated, keys = ['labels', 'annotations']): string[] {
  return [...missingIn(template, ['metadata']), ...missingIn(template.metadata, keys)];
}

type Annotated = Pick<PodTemplate, 'metadata'>;

/** Asks the webhook for the proxy (`--annotation-only`), on a pod template or a Namespace. */
export function annotate<T extends Annotated>(template: T): T {
  if (template.metadata?.annotations?.[injectAnnotation] === 'enabled') return template;
  const created = ['inject', ...missing(template, ['annotations'])].join(',');
  const annotations = {
    [injectAnnotation]: 'enabled',
    [annotatedAnnotation]: created,
    ...template.metadata?.annotations,
  };
  return { ...template, metadata: { ...template.metadata, annotations } };
}

/** Takes out what `annotate` put in; an annotation written by hand stays. */
export function unannotate<T extends Annotated>(template: T): T {
  const annotations = template.metadata?.annotations;
  if (annotations?.[annotatedAnnotation] === undefined) return template;
  const created = new Set(annotations[annotatedAnnotation].split(','));
  const result = { ...template };
  const metadata = { ...template.metadata };
  put(metadata, 'annotations', without(annotations, [injectAnnotation, annotatedAnnotation]), created);
  put(result, 'metadata', metadata, created);
  return result;
}

/** Sets a field, or what stood there before injection where nothing is left of it. */
function put(holder: object, key: string, value: object, created: ReadonlySet<string>): void {
  const fields = holder as Record<string, unknown>;
  const empty = Object.keys(value).length === 0;
  if (empty && (created.has(key) || !Object.hasOwn(fields, key))) delete fields[key];
  else fields[key] = empty && created.has(`${key}=null`) ? null : value;
}

function without(map: Record<string, string> | undefined, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !keys.includes(key)));
}

/** Takes out what injection put in; a pod without a proxy comes back as it is. */
export function uninjectPod(template: PodTemplate): PodTemplate {
  const annotations = template.metadata?.annotations;
  if (annotations?.[proxyVersionAnnotation] === undefined) return template;
  const created = new Set((annotations[createdAnnotation] ?? '').split(','));

  const drop = (list: unknown, names: readonly string[]) =>
    Array.isArray(list) ? list.filter((item) => !names.includes(item?.name)) : [];

  const metadata = { ...template.metadata };
  put(metadata, 'labels', without(metadata.labels, [meshedLabel]), created);
  put(metadata, 'annotations', without(metadata.annotations, ownAnnotations), created);
  const spec = { ...template.spec };
  put(spec, 'initContainers', drop(spec.initContainers, meshContainers), created);
  put(spec, 'volumes', drop(spec.volumes, meshVolumes), created);
  const result: PodTemplate = { ...template, spec };
  put(result, 'metadata', metadata, created);
  return result;
}
