/** The address plan of the local mesh. */

export const podCidr = '10.244.0.0/16';
export const serviceCidr = '10.96.0.0/16';
/** The node: gateway of every pod, source of probes, and where the API server listens for pods. */
export const nodeAddress = '10.244.0.1';
export const apiServiceAddress = '10.96.0.1';
export const dnsAddress = '10.96.0.10';
/** The API server's port on the node. */
export const nodeApiPort = 6443;
/** Where TCP that leaves the mesh is redirected to, on the node. */
export const egressPort = 15099;
export const clusterDomain = 'cluster.local';

/** Hands out pod addresses; in turn, so that one that was just freed is not used again at once. */
export class AddressPool {
  readonly #used = new Map<string, string>();
  #next = 2;

  /** Marks an address as taken by an owner, e.g. of a pod that was there before. */
  take(address: string, owner: string): boolean {
    const holder = this.#used.get(address);
    if (holder !== undefined && holder !== owner) return false;
    this.#used.set(address, owner);
    return true;
  }

  allocate(owner: string): string {
    for (let tried = 0; tried < 65_000; tried++) {
      const host = this.#next;
      this.#next = host >= 65_533 ? 2 : host + 1;
      const low = host & 255;
      if (low === 0 || low === 255) continue;
      const address = `10.244.${host >> 8}.${low}`;
      if (this.take(address, owner)) return address;
    }
    throw new Error('every pod address is taken');
  }

  release(owner: string): void {
    for (const [address, holder] of this.#used) if (holder === owner) this.#used.delete(address);
  }
}
