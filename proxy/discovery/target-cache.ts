/**
 * What is known of each original destination the application dials. Last known state stays in use without a time
 * limit while the control plane is away; only what has long been idle is forgotten, and only while it is there.
 */
import type { Address, ProxyMessage, Target } from '../../protocol/discovery.ts';

const maxTargets = 10_000;
const idleMs = 10 * 60_000;
/** How long a connection waits for the first answer about a destination never seen before. */
const firstAnswerMs = 1_000;

/** What the user of the cache makes of a target; told of every change. */
export interface TargetUser {
  update(target: Target): void;
  /** Whether connections use it now: then it is not forgotten. */
  readonly busy: boolean;
}

export interface TargetCacheOptions<T extends TargetUser> {
  make(target: Target): T;
  /** Sends to the control plane. */
  send(message: ProxyMessage): void;
  connected(): boolean;
  /** A look-up went to the original destination, because the control plane has not told about it. */
  onFallback(address: Address): void;
  /** Milliseconds, monotonic. */
  now?: () => number;
  firstAnswerMs?: number;
}

interface Entry<T> {
  user: T | undefined;
  /** Whether the control plane has told about it. */
  told: boolean;
  usedAt: number;
  waiting: ((user: T) => void)[];
  timer: NodeJS.Timeout | undefined;
}

export class TargetCache<T extends TargetUser> {
  readonly #options: TargetCacheOptions<T>;
  readonly #entries = new Map<Address, Entry<T>>();
  readonly #now: () => number;

  constructor(options: TargetCacheOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Those used last, the latest first. */
  latest(count: number): T[] {
    const used = [...this.#entries.values()].filter(({ user }) => user !== undefined);
    used.sort((a, b) => b.usedAt - a.usedAt);
    return used.slice(0, count).map(({ user }) => user!);
  }

  /** Calls back once: at once where the destination is known, or where no answer can be had. */
  lookup(address: Address, callback: (user: T) => void): void {
    const { make, send, connected, onFallback } = this.#options;
    let entry = this.#entries.get(address);
    if (!entry) {
      if (this.#entries.size >= maxTargets && !this.#makeRoom()) {
        onFallback(address);
        callback(make(unknownTarget(address)));
        return;
      }
      entry = { user: undefined, told: false, usedAt: 0, waiting: [], timer: undefined };
      this.#entries.set(address, entry);
      send({ type: 'subscribe', address });
    }
    entry.usedAt = this.#now();
    if (!entry.user && connected()) {
      entry.waiting.push(callback);
      const waiting = entry;
      entry.timer ??= setTimeout(() => this.#fallBack(address, waiting), this.#options.firstAnswerMs ?? firstAnswerMs);
      return;
    }
    if (!entry.told) onFallback(address);
    entry.user ??= make(unknownTarget(address));
    callback(entry.user);
  }

  /** State from the control plane. One that was unknown before is upgraded in place. */
  onTarget(target: Target): void {
    const entry = this.#entries.get(target.address);
    if (!entry) return;
    entry.told = true;
    if (entry.user) entry.user.update(target);
    else entry.user = this.#options.make(target);
    this.#answer(entry, entry.user);
  }

  /** The stream is open (again): everything is subscribed to. */
  onOpen(): void {
    for (const address of this.#entries.keys()) this.#options.send({ type: 'subscribe', address });
  }

  /** The stream is gone: nobody waits for an answer. */
  onClose(): void {
    for (const [address, entry] of this.#entries) if (entry.waiting.length > 0) this.#fallBack(address, entry);
  }

  /** Forgets what has been idle for long; to be called now and then. */
  sweep(): void {
    if (!this.#options.connected()) return;
    const before = this.#now() - idleMs;
    for (const [address, entry] of this.#entries) {
      if (entry.usedAt < before && !entry.user?.busy && entry.waiting.length === 0) this.#forget(address);
    }
  }

  #makeRoom(): boolean {
    if (!this.#options.connected()) return false;
    let oldest: Address | undefined;
    let usedAt = Number.POSITIVE_INFINITY;
    for (const [address, entry] of this.#entries) {
      if (entry.usedAt < usedAt && !entry.user?.busy && entry.waiting.length === 0) {
        oldest = address;
        usedAt = entry.usedAt;
      }
    }
    if (oldest === undefined) return false;
    this.#forget(oldest);
    return true;
  }

  #forget(address: Address): void {
    this.#entries.delete(address);
    this.#options.send({ type: 'unsubscribe', address });
  }

  #fallBack(address: Address, entry: Entry<T>): void {
    entry.user ??= this.#options.make(unknownTarget(address));
    for (let i = 0; i < entry.waiting.length; i++) this.#options.onFallback(address);
    this.#answer(entry, entry.user);
  }

  #answer(entry: Entry<T>, user: T): void {
    clearTimeout(entry.timer);
    entry.timer = undefined;
    for (const callback of entry.waiting.splice(0)) callback(user);
  }
}

/** Dialled as it is, in plain text. */
function unknownTarget(address: Address): Target {
  return { address, kind: 'unknown', version: 0, protocol: 'detect', endpoints: [] };
}
