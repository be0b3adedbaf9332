/** Who reads behind the proxy, and who before it. */
import { envoy, haproxy, nginx } from './fronts.ts';
import { goServer } from './go.ts';
import { nodeClient, nodeServer } from './node.ts';
import type { ClientKind, ServerKind } from './server.ts';

export const serverKinds: readonly ServerKind[] = [nodeServer, goServer, nginx, haproxy, envoy];
export const clientKinds: readonly ClientKind[] = [nodeClient, nginx, haproxy, envoy];
