/** Injects every workload of a YAML or JSON text in place, and takes it out again. */
import { isDeepStrictEqual } from 'node:util';
import { configPrefix, injectAnnotation } from '../protocol/names.ts';
import type { InjectCode } from './codes.ts';
import { ManifestError, type Parsed, parseManifest } from './parse.ts';
import { annotate, injectPod, unannotate, uninjectPod } from './pod.ts';
import { annotationProblems } from './settings.ts';
import type { InjectOptions } from './types.ts';
import { applyEdits, type Edit, LayoutError, nodeAt, YamlEditor } from './yaml-edit.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind pass through
type Json = any;

export interface ObjectReport {
  /** `deployment/web`. */
  object: string;
  outcome: 'injected' | 'uninjected' | 'unchanged' | 'skipped' | 'failed';
  reason?: string;
  code?: InjectCode;
  warnings: string[];
}

export interface ManifestOptions extends Omit<InjectOptions, 'explicit' | 'namespaceAnnotations'> {
  mode: 'inject' | 'uninject' | 'annotate';
  defaultNamespace?: string;
  /** Namespace annotations of all inputs of one call; by default those in this text. */
  namespaces?: ReadonlyMap<string, Record<string, string>>;
}

type Path = (string | number)[];

const templatePaths: Record<string, string[]> = {
  Pod: [],
  Deployment: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  ReplicationController: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
};

/** What is wrong with the mesh's annotations on an object itself; those of pod templates are injection's to judge. */
function annotationProblemsOf(object: Json): string[] {
  const annotations = object.metadata?.annotations;
  if (object.kind === 'Namespace') return annotationProblems(annotations, 'pod');
  if (object.kind === 'Service') return annotationProblems(annotations, 'service');
  const path = Object.hasOwn(templatePaths, object.kind) ? templatePaths[object.kind]! : [];
  if (path.length === 0) return [];
  return Object.keys(annotations ?? {})
    .filter((key) => key === injectAnnotation || key.startsWith(configPrefix))
    .map((key) => `${key} has no effect there; put it on ${path.join('.')}.metadata.annotations`);
}

const at = (value: Json, path: readonly (string | number)[]): Json => path.reduce((found, key) => found?.[key], value);

/** `List`, and what the API itself calls a list, such as `DeploymentList`. */
export function isList(value: Json): value is { items: Json[] } {
  return typeof value?.kind === 'string' && value.kind.endsWith('List') && Array.isArray(value.items);
}

function* objectsOf(value: Json, path: Path = []): Generator<{ object: Json; path: Path }> {
  if (isList(value)) {
    for (const [index, object] of value.items.entries()) yield* objectsOf(object, [...path, 'items', index]);
  } else if (value !== null && value !== undefined) yield { object: value, path };
}

/** Annotations of every Namespace in the texts, by name; a broken text has none (`editManifest` reports it). */
export function namespaceAnnotations(sources: readonly string[]): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  for (const source of sources) {
    let parsed: Parsed[] = [];
    try {
      parsed = parseManifest(source);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
    }
    for (const { value } of parsed) {
      for (const { object } of objectsOf(value)) {
        if (object?.kind === 'Namespace') found.set(object.metadata?.name, object.metadata?.annotations ?? {});
      }
    }
  }
  return found;
}

/** The intended template of one object, or why there is none. */
function intend(object: Json, before: Json, namespaced: Record<string, string> | undefined, options: ManifestOptions) {
  const kind: string = object.kind.toLowerCase();
  const name: string = object.metadata?.name ?? object.metadata?.generateName ?? 'unnamed';
  if (options.mode === 'uninject') {
    // Injection came after the annotation, so it goes first: each knows what it had to create.
    const after = object.kind === 'Namespace' ? before : uninjectPod(before);
    return { after: unannotate(after), warnings: [] };
  }
  if (object.kind === 'Namespace') {
    if (before.metadata?.annotations?.[injectAnnotation] !== 'disabled')
      return { after: annotate(before), warnings: [] };
    const reason = `${injectAnnotation} is disabled`;
    return { refusal: { outcome: 'skipped', code: 'annotation-disabled', reason } as const, warnings: [] };
  }
  const result = injectPod(
    before,
    { kind, name },
    { ...options, explicit: true, ...(namespaced === undefined ? {} : { namespaceAnnotations: namespaced }) },
  );
  const { warnings } = result;
  if (result.outcome !== 'injected') {
    const { outcome, code, reason } = result;
    return { refusal: { outcome, code, reason }, warnings };
  }
  return { after: options.mode === 'annotate' ? annotate(before) : result.template, warnings };
}

/** The value with another one at a path. */
function replaced(value: Json, path: Path, part: Json): Json {
  const [key, ...rest] = path;
  if (key === undefined) return part;
  const copy = Array.isArray(value) ? [...value] : { ...value };
  copy[key] = replaced(value[key], rest, part);
  return copy;
}

/** True where the text reads back as exactly these values. */
function readsAs(text: string, values: readonly Json[]): boolean {
  try {
    return isDeepStrictEqual(
      parseManifest(text).map(({ value }) => value),
      values,
    );
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    return false;
  }
}

/**
 * Edits one text. What was written is read back and compared with what was meant: a document that would
 * read otherwise stays as it was, and its objects fail. Throws ManifestError where the YAML is broken.
 */
export function editManifest(source: string, options: ManifestOptions): { text: string; reports: ObjectReport[] } {
  const parsed = parseManifest(source);
  const namespaces = options.namespaces ?? namespaceAnnotations([source]);
  const drafts = parsed.map((one) => draft(source, one, namespaces, options));
  const originals = parsed.map(({ value }) => value);
  const text = () =>
    applyEdits(
      source,
      drafts.flatMap(({ edits }) => edits),
    );
  const intended = () => drafts.map(({ value }) => value);
  if (!readsAs(text(), intended())) {
    const whole = drafts.map(({ edits, value }, index) =>
      readsAs(applyEdits(source, edits), originals.with(index, value)),
    );
    for (const [index, one] of drafts.entries())
      if (!whole[index]) withdraw(one, originals[index], index, parsed[index]!);
    if (!readsAs(text(), intended())) {
      drafts.forEach((one, index) => {
        withdraw(one, originals[index], index, parsed[index]!);
      });
    }
  }
  return { text: text(), reports: drafts.flatMap(({ reports }) => reports) };
}

interface Draft {
  edits: Edit[];
  value: Json;
  reports: ObjectReport[];
}

/** Leaves a document as it was and says so. */
function withdraw(one: Draft, original: Json, index: number, { position }: Parsed): void {
  one.edits = [];
  one.value = original;
  for (const report of one.reports) {
    if (report.outcome !== 'injected' && report.outcome !== 'uninjected') continue;
    const reason = `document ${index + 1} (line ${position.line}) is laid out in a way that cannot be edited safely; write it plainly`;
    Object.assign(report, { outcome: 'failed', code: 'yaml-layout', reason });
  }
}

function draft(
  source: string,
  { document, value, position }: Parsed,
  namespaces: ReadonlyMap<string, Record<string, string>>,
  options: ManifestOptions,
): Draft {
  const editor = new YamlEditor(source, document);
  const result: Draft = { edits: editor.edits, value, reports: [] };
  for (const { object, path } of objectsOf(value)) {
    if (typeof object?.kind !== 'string') {
      const reason = `line ${position.line}: not a Kubernetes object, left as it is`;
      result.reports.push({ object: 'document', outcome: 'skipped', code: 'not-a-workload', reason, warnings: [] });
      continue;
    }
    const name: string = object.metadata?.name ?? object.metadata?.generateName ?? 'unnamed';
    const report: ObjectReport = { object: `${object.kind.toLowerCase()}/${name}`, outcome: 'skipped', warnings: [] };
    result.reports.push(report);
    const misplaced = options.mode === 'uninject' ? [] : annotationProblemsOf(object);
    if (misplaced.length > 0) {
      Object.assign(report, { outcome: 'failed', code: 'bad-annotation', reason: misplaced.join('; ') });
      continue;
    }
    const isNamespace = options.mode !== 'inject' && object.kind === 'Namespace';
    const templatePath = isNamespace ? [] : Object.hasOwn(templatePaths, object.kind) && templatePaths[object.kind];
    if (!templatePath) {
      Object.assign(report, { code: 'not-a-workload', reason: 'not a workload' });
      continue;
    }
    const before = at(object, templatePath);
    if (!isNamespace && (typeof before?.spec !== 'object' || before.spec === null)) {
      Object.assign(report, { outcome: 'failed', code: 'no-containers', reason: 'it has no pod template' });
      continue;
    }
    const namespace = object.metadata?.namespace ?? options.defaultNamespace ?? 'default';
    const { after, refusal, warnings } = intend(object, before, namespaces.get(namespace), options);
    report.warnings = warnings;
    if (refusal) {
      Object.assign(report, refusal);
      continue;
    }
    if (isDeepStrictEqual(before, after)) {
      const reason = options.mode === 'uninject' ? 'has no proxy' : 'already so';
      Object.assign(report, { outcome: 'unchanged', reason });
      continue;
    }
    const mark = editor.edits.length;
    const full = [...path, ...templatePath];
    try {
      editor.change(nodeAt(document, full), before, after);
      report.outcome = options.mode === 'uninject' ? 'uninjected' : 'injected';
      result.value = replaced(result.value, full, after);
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      editor.edits.splice(mark);
      Object.assign(report, { outcome: 'failed', code: 'yaml-layout', reason: error.message });
    }
  }
  return result;
}
