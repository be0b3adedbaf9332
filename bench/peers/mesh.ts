import type { Peer } from './peer.ts';

/** This mesh: the pods are injected, wrk dials the service's address and knows nothing of proxies. */
export const mesh: Peer = { name: 'mesh', missing: () => undefined, files: () => ({}), server: [], client: [] };
