import type { Peer } from './peer.ts';

/** No proxy at all: the load generator asks the origin's pod. What the others add is counted from here. */
export const direct: Peer = {
  name: 'direct',
  protocols: ['http1', 'http2'],
  missing: () => undefined,
  files: () => ({}),
  server: [],
  client: [],
};
