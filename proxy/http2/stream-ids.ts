/** Which streams of a connection there have been (RFC 9113 section 5.1.1): odd ones of the client's, even ones of the server's. */
import { maxWindow } from './frames.ts';
import type { Role } from './settings.ts';

export class StreamIds {
  #next: number;
  /** The highest of the peer's so far, and of those the highest that was looked at. */
  highestOfPeer = 0;
  lastOfPeer = 0;

  constructor(role: Role) {
    this.#next = role === 'client' ? 1 : 2;
  }

  /** Whether this end can begin another one. */
  get left(): boolean {
    return this.#next < maxWindow;
  }

  take(): number {
    const id = this.#next;
    this.#next += 2;
    return id;
  }

  isOwn(id: number): boolean {
    return id % 2 === this.#next % 2;
  }

  /** The peer began it behind the last one that is looked at. */
  isPassedOver(id: number): boolean {
    return !this.isOwn(id) && id > this.lastOfPeer;
  }

  /** Neither end has begun it. */
  isIdle(id: number): boolean {
    return this.isOwn(id) ? id >= this.#next : id > this.highestOfPeer;
  }
}
