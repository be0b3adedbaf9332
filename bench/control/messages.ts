/** What the processes of `npm run bench:control` say to each other, beside what the mesh's own protocols say. */
import type { Address } from '../../protocol/discovery.ts';
import type { Size } from './world.ts';

/** Milliseconds of the machine's monotonic clock, the same in every process. */
export type Instant = number;

export const now = (): Instant => Number(process.hrtime.bigint()) / 1e6;

export interface ApiReady {
  port: number;
  /** PEM. */
  root: string;
  adminToken: string;
  controlToken: string;
  /** By service; audience `mesh`. */
  proxyTokens: string[];
}

/** To the API server: change some endpoint; the number says which, and how. */
export interface ApiMessage {
  number: number;
}

export type ChangeKind = 'pod added' | 'pod not ready' | 'pod removed' | 'pod ready';

/** From the API server: what it changed. */
export interface Changed {
  kind: ChangeKind;
  address: Address;
  /** Before the EndpointSlice was written. */
  at: Instant;
  /** The endpoints that proxies must be told of, as one text. */
  state: string;
}

/** To a load process, once. */
export interface LoadOptions {
  size: Size;
  /** Its part of the proxies: first, and one beyond the last. */
  from: number;
  to: number;
  /** Token files by service. */
  tokenFiles: string[];
  /** PEM. */
  trustBundle: string;
  telemetryMs: number;
  /** Whether proxies report telemetry. */
  telemetry: boolean;
}

/** To a load process: start all proxies, or tell how they are, or hand over what arrived since it was last asked. */
export type LoadMessage = { ask: 'start' } | { ask: 'progress' } | { ask: 'arrivals' };

export interface Progress {
  certified: number;
  connected: number;
  /** Proxies that were told of everything they subscribed to since they last connected. */
  complete: number;
  /** Targets that no proxy had asked for. */
  strangers: number;
  reports: number;
  acknowledged: number;
  /** When the last of each came. */
  certifiedAt: Instant;
  completeAt: Instant;
}

/** A proxy heard of a target. */
export interface Arrival {
  proxy: number;
  address: Address;
  at: Instant;
  state: string;
}

export type LoadAnswer = { progress: Progress } | { arrivals: Arrival[] };
