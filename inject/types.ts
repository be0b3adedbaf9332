/** What goes into injection and what comes out. */
import type { InjectCode } from './codes.ts';

// biome-ignore lint/suspicious/noExplicitAny: pod specs are passed through as they are
type Json = any;

/** The part of a workload (or a Pod itself) that injection changes. */
export interface PodTemplate {
  metadata?: {
    name?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    [field: string]: Json;
  };
  spec: { [field: string]: Json };
}

/** What the pod belongs to; names the workload its traffic counts for. */
export interface PodOwner {
  /** Lower-case singular, e.g. `deployment`, `job`, `pod`. */
  kind: string;
  name: string;
  namespace?: string;
}

export interface InjectOptions {
  /** Full image reference of the proxy. */
  image: string;
  /** Version written to the annotation. */
  version: string;
  trustDomain: string;
  /** Whether the CNI plugin writes the redirect rules, in place of an init container that needs NET_ADMIN. */
  cni?: boolean;
  /** Annotations of the namespace, defaults for the pod's; the webhook has them, the CLI only for namespaces in its input. */
  namespaceAnnotations?: Record<string, string>;
  /** True for `mesh inject` (asked for by name); false for the webhook (needs the annotation `enabled`). */
  explicit: boolean;
}

/** `failed` can never work (CLI: exit 1); `skipped` was not asked for or is not injectable; both say why. */
export type InjectResult =
  | { outcome: 'injected'; template: PodTemplate; warnings: string[] }
  | { outcome: 'unchanged' | 'skipped' | 'failed'; code: InjectCode; reason: string; warnings: string[] };
