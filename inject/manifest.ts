/** Injects every workload of a YAML or JSON text in place, and takes it out again. */
import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { injectAnnotation } from '../protocol/names.ts';
import { injectPod, uninjectPod } from './pod.ts';
import type { InjectOptions, PodTemplate } from './types.ts';
import { LayoutError, nodeAt, YamlEditor } from './yaml-edit.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind pass through
type Json = any;

export interface ObjectReport {
  /** `deployment/web`. */
  object: string;
  outcome: 'injected' | 'uninjected' | 'unchanged' | 'skipped' | 'failed';
  reason?: string;
  code?: string;
  warnings: string[];
}

/** Broken YAML; line counts from 1. */
export class ManifestError extends Error {
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

export interface ManifestOptions extends Omit<InjectOptions, 'explicit' | 'namespaceAnnotations'> {
  mode: 'inject' | 'uninject' | 'annotate';
  defaultNamespace?: string;
}

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

const at = (value: Json, path: readonly (string | number)[]): Json => path.reduce((found, key) => found?.[key], value);

function* objectsOf(value: Json): Generator<{ object: Json; path: (string | number)[] }> {
  if (value?.kind === 'List' && Array.isArray(value.items)) {
    for (const [index, object] of value.items.entries()) yield { object, path: ['items', index] };
  } else if (value !== null && typeof value === 'object') yield { object: value, path: [] };
}

export function editManifest(source: string, options: ManifestOptions): { text: string; reports: ObjectReport[] } {
  const documents = parseAllDocuments(source, { keepSourceTokens: true });
  const values: Json[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error) throw new ManifestError(error.linePos?.[0].line ?? 1, (error.message.split(' at line')[0] ?? '').trim());
    values.push(document.toJS());
  }
  const namespaces = new Map<string, Record<string, string>>();
  for (const value of values) {
    for (const { object } of objectsOf(value)) {
      if (object?.kind === 'Namespace') namespaces.set(object.metadata?.name, object.metadata?.annotations ?? {});
    }
  }
  const reports: ObjectReport[] = [];
  const editor = new YamlEditor(source);
  for (const [index, document] of documents.entries()) {
    for (const { object, path } of objectsOf(values[index])) {
      if (typeof object?.kind !== 'string') continue;
      const name: string = object.metadata?.name ?? object.metadata?.generateName ?? 'unnamed';
      const kind = object.kind.toLowerCase();
      const report: ObjectReport = { object: `${kind}/${name}`, outcome: 'skipped', warnings: [] };
      reports.push(report);
      const templatePath = Object.hasOwn(templatePaths, object.kind) ? templatePaths[object.kind] : undefined;
      const annotates = options.mode === 'annotate' && object.kind === 'Namespace';
      if (!templatePath && !annotates) {
        report.reason = 'not a workload';
        continue;
      }
      const full = [...path, ...(templatePath ?? [])];
      const before: Json = at(object, templatePath ?? []);
      if (before === null || typeof before !== 'object' || (!annotates && typeof before.spec !== 'object')) {
        Object.assign(report, { outcome: 'failed', code: 'no-containers', reason: 'it has no pod template' });
        continue;
      }
      let after: Json = before;
      if (options.mode === 'uninject') after = uninjectPod(before as PodTemplate);
      else if (options.mode === 'annotate') {
        const annotations = { ...before.metadata?.annotations, [injectAnnotation]: 'enabled' };
        after = { ...before, metadata: { ...before.metadata, annotations } };
      } else {
        const annotations = namespaces.get(object.metadata?.namespace ?? options.defaultNamespace ?? 'default');
        const owner = { kind, name };
        const result = injectPod(before, owner, {
          ...options,
          explicit: true,
          ...(annotations === undefined ? {} : { namespaceAnnotations: annotations }),
        });
        report.warnings = result.warnings;
        if (result.outcome !== 'injected') {
          Object.assign(report, { outcome: result.outcome, code: result.code, reason: result.reason });
          continue;
        }
        after = result.template;
      }
      if (isDeepStrictEqual(before, after)) {
        report.outcome = 'unchanged';
        report.reason = options.mode === 'uninject' ? 'has no proxy' : 'already so';
        continue;
      }
      const mark = editor.edits.length;
      try {
        editor.change(nodeAt(document, full), before, after);
        report.outcome = options.mode === 'uninject' ? 'uninjected' : 'injected';
      } catch (error) {
        if (!(error instanceof LayoutError)) throw error;
        editor.edits.splice(mark);
        Object.assign(report, { outcome: 'failed', code: 'yaml-layout', reason: error.message });
      }
    }
  }
  return { text: editor.result(), reports };
}
