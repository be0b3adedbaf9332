/** Who asked for which address, and what it was told: a change is worked out once and sent only where it differs. */
import { type Address, type ControlMessage, parseAddress } from '../../protocol/discovery.ts';
import type { Cluster } from '../cluster/index.ts';
import { type Found, findTarget } from './target.ts';

/** Changes that come together are answered together. */
const gatherMs = 20;

/** A target as it goes to each of its subscribers: the line of the protocol, made once for all. */
export type Line = Buffer;

interface Entry {
  found: Found;
  text: string;
  line: Line;
  subscribers: Set<(line: Line) => void>;
}

export class Subscriptions {
  readonly #cluster: Cluster;
  readonly #trustDomain: string;
  readonly #entries = new Map<Address, Entry>();
  readonly #byIp = new Map<string, Set<Address>>();
  readonly #byService = new Map<string, Set<Address>>();
  readonly #dirty = new Set<Address>();
  #timer: NodeJS.Timeout | undefined;
  #version = Date.now() * 1000;

  constructor(cluster: Cluster, trustDomain: string) {
    this.#cluster = cluster;
    this.#trustDomain = trustDomain;
    cluster.onChange(({ ip, service, defined }) => {
      if (ip) {
        this.#mark(this.#byIp.get(ip));
        // A pod's proxy or identity shows in the services it is behind.
        for (const key of cluster.servicesBehind(ip)) this.#mark(this.#byService.get(key));
      }
      if (service) this.#mark(this.#byService.get(service));
      if (service && defined) this.#markPods(service.split('/', 1)[0]!);
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Tells the present state at once and every change after it; returns the way to stop. */
  subscribe(address: Address, listener: (line: Line) => void): () => void {
    let entry = this.#entries.get(address);
    if (!entry) {
      const found = findTarget(this.#cluster, address, this.#trustDomain);
      entry = {
        found,
        text: JSON.stringify(found.target),
        line: lineOf(found, ++this.#version),
        subscribers: new Set(),
      };
      this.#entries.set(address, entry);
      this.#index(address, found);
    }
    entry.subscribers.add(listener);
    listener(entry.line);
    return () => {
      entry.subscribers.delete(listener);
      if (entry.subscribers.size === 0 && this.#entries.get(address) === entry) {
        this.#entries.delete(address);
        drop(this.#byIp, parseAddress(address)?.ip, address);
        drop(this.#byService, entry.found.service, address);
      }
    };
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** A service's ports also say what its pods' own addresses speak; its selector may have named others before. */
  #markPods(namespace: string): void {
    for (const [ip, addresses] of this.#byIp)
      if (this.#cluster.podAt(ip)?.metadata.namespace === namespace) this.#mark(addresses);
  }

  #mark(addresses: Set<Address> | undefined): void {
    if (!addresses || addresses.size === 0) return;
    for (const address of addresses) this.#dirty.add(address);
    this.#timer ??= setTimeout(() => this.#work(), gatherMs);
  }

  #work(): void {
    this.#timer = undefined;
    for (const address of this.#dirty) {
      const entry = this.#entries.get(address);
      if (!entry) continue;
      const found = findTarget(this.#cluster, address, this.#trustDomain);
      const text = JSON.stringify(found.target);
      if (found.service !== entry.found.service) {
        drop(this.#byService, entry.found.service, address);
        this.#index(address, found);
      }
      entry.found = found;
      if (text === entry.text) continue;
      entry.text = text;
      entry.line = lineOf(found, ++this.#version);
      for (const listener of entry.subscribers) listener(entry.line);
    }
    this.#dirty.clear();
  }

  #index(address: Address, found: Found): void {
    add(this.#byIp, parseAddress(address)?.ip, address);
    add(this.#byService, found.service, address);
  }
}

/** In memory of its own: a piece of Buffer's pool would keep the pool's 64 KB for as long as the target lives. */
function lineOf({ target }: Found, version: number): Line {
  const message: ControlMessage = { type: 'target', target: { ...target, version } };
  const text = `${JSON.stringify(message)}\n`;
  const line = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  line.write(text);
  return line;
}

function add(index: Map<string, Set<Address>>, key: string | undefined, address: Address): void {
  if (key === undefined) return;
  const set = index.get(key) ?? new Set();
  set.add(address);
  index.set(key, set);
}

function drop(index: Map<string, Set<Address>>, key: string | undefined, address: Address): void {
  if (key === undefined) return;
  const set = index.get(key);
  set?.delete(address);
  if (set?.size === 0) index.delete(key);
}
