/** Kubernetes objects as plain data, typed as far as the mesh reads them. */

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: unknown[];
}

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind; readers narrow what they use
export type Json = any;

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  [field: string]: Json;
}

/** `Status` object of a failed call. */
export interface KubeStatus {
  kind: 'Status';
  code: number;
  reason?: string;
  message?: string;
  details?: Json;
}

export interface WatchEvent<T extends KubeObject = KubeObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

/** Names a resource type. */
export interface ResourceType {
  /** Empty for the core group. */
  group: string;
  version: string;
  /** Lower-case plural, as in URLs. */
  plural: string;
  kind: string;
  namespaced: boolean;
}
