import type { Peer } from './peer.ts';

/** This mesh: the pods are injected, the load generator dials the service's address and knows nothing of proxies. */
export const mesh: Peer = {
  name: 'mesh',
  protocols: ['http1', 'http2'],
  missing: () => undefined,
  files: () => ({}),
  server: [],
  client: [],
};
