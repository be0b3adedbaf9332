/** What connections to an endpoint are pooled by: its address, and the identity that has to be shown there. */
import type { Endpoint } from '../../protocol/discovery.ts';

const keys = new WeakMap<Endpoint, string>();

/** Made once per endpoint: it is asked for with every request, and making it is what a look-up costs then. */
export function poolKey(endpoint: Endpoint): string {
  let key = keys.get(endpoint);
  if (key === undefined) {
    const { address, identity } = endpoint;
    key = identity ? `${address} ${identity}` : address;
    keys.set(endpoint, key);
  }
  return key;
}
