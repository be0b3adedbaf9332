/** The HTTP/2 connections to one server: as few as its limit of streams allows, and a bounded queue where that is not enough. */
import type { Duplex } from 'node:stream';
import { ProxyError } from '../error.ts';
import { type MessageStream, messageStream } from './message-stream.ts';
import { Http2Session } from './session.ts';
import { requestSettings } from './settings.ts';

const maxSessions = 64;
const maxWaiting = 1024;
const maxWaitMs = 10_000;
const usualIdleMs = 60_000;
/** For a server's first SETTINGS. */
const settleMs = 5_000;
/**
 * A server may end a connection on which too many streams are reset (CVE-2023-44487), and with it the streams of other
 * clients: long before that it gets no more.
 */
const maxResets = 200;

export type MessageSession = Http2Session<MessageStream>;

/** Who wants to begin one stream. */
export interface SessionUser {
  /** A session that can take it now, or why there is none. */
  onSession(error: ProxyError | undefined, session: MessageSession | undefined): void;
}

export interface SessionPoolOptions {
  /** The server's name in errors. */
  name: string;
  /** Calls back once; connect failures are `ProxyError`s with retry `yes`. */
  dial(callback: (error: ProxyError | undefined, connection: Duplex | undefined) => void): void;
  /** Of the certificate that a new connection travels under: one under another takes no new streams. */
  generation(): number;
  /** Milliseconds, monotonic; coarse. */
  now(): number;
  /** Milliseconds that a session without streams is kept. */
  idleMs?: number;
  /** The server has ended a session, or begun to. */
  onServerEnd?(): void;
}

interface Entry {
  session: MessageSession;
  generation: number;
  madeAt: number;
  /** It is this end that ends it. */
  retired: boolean;
  idleSince: number;
}

interface Waiter {
  user: SessionUser;
  since: number;
}

export class SessionPool {
  readonly #options: SessionPoolOptions;
  readonly #entries: Entry[] = [];
  #waiting: Waiter[] = [];
  #dialling = false;
  #closed = false;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
  }

  /** Nothing is kept in it, and nobody waits. */
  get empty(): boolean {
    return this.#entries.length === 0 && this.#waiting.length === 0 && !this.#dialling;
  }

  /** Tells the user once, possibly at once. */
  acquire(user: SessionUser): void {
    const session = this.#usable();
    if (session) return user.onSession(undefined, session);
    if (this.#waiting.length >= maxWaiting) {
      return user.onSession(this.#queueFull(`${maxWaiting} are waiting`), undefined);
    }
    this.#waiting.push({ user, since: this.#options.now() });
    this.#grow();
  }

  /** Takes a connection that somebody else has made. */
  adopt(connection: Duplex, generation: number): void {
    const session: MessageSession = new Http2Session(connection, {
      role: 'client',
      settings: requestSettings,
      makeStream: messageStream,
      onRoom: () => this.#onRoom(entry),
      onGoaway: () => this.#options.onServerEnd?.(),
      onClose: () => this.#onClose(entry),
    });
    const now = this.#options.now();
    const entry: Entry = { session, generation, madeAt: now, retired: false, idleSince: now };
    this.#entries.push(entry);
  }

  /** Ends what has been idle too long, and the wait of those who have waited too long. */
  sweep(): void {
    const now = this.#options.now();
    const { idleMs = usualIdleMs } = this.#options;
    for (const entry of [...this.#entries]) {
      const { session, madeAt, idleSince } = entry;
      if (!session.settled && now - madeAt > settleMs) session.destroy(new Error('the server tells no settings'));
      else if (session.streams === 0 && now - idleSince > idleMs) this.#end(entry);
    }
    while (this.#waiting[0] && now - this.#waiting[0].since > maxWaitMs && !this.#dialling) {
      this.#waiting.shift()!.user.onSession(this.#queueFull(`one has waited for ${maxWaitMs / 1000} s`), undefined);
    }
  }

  /** No new streams; those there are may finish. */
  close(): void {
    this.#closed = true;
    this.#fail(new ProxyError('connect-failed', `${this.#options.name}: closing`, { source: 'proxy' }));
    for (const entry of [...this.#entries]) this.#end(entry);
  }

  #end(entry: Entry): void {
    entry.retired = true;
    entry.session.close();
  }

  #usable(): MessageSession | undefined {
    const generation = this.#options.generation();
    for (const entry of this.#entries) {
      const { session } = entry;
      // What a server takes at once is not known before its settings: one stream need not wait for them.
      if (!session.usable || (!session.settled && session.streams > 0)) continue;
      if (entry.generation === generation && session.resetsSent < maxResets) return session;
    }
    return undefined;
  }

  /** Those that get no more streams end with their last one. */
  #retire(): void {
    const generation = this.#options.generation();
    for (const entry of [...this.#entries]) {
      if (entry.generation !== generation || entry.session.resetsSent >= maxResets) this.#end(entry);
    }
  }

  #grow(): void {
    if (this.#dialling || this.#waiting.length === 0 || this.#closed) return;
    this.#retire();
    const lasting = this.#entries.filter(({ session }) => session.lasting);
    if (lasting.length >= maxSessions || lasting.some(({ session }) => !session.settled)) return;
    this.#dialling = true;
    const generation = this.#options.generation();
    this.#options.dial((error, connection) => {
      this.#dialling = false;
      if (!connection) return this.#fail(error!);
      if (this.#closed) return void connection.destroy();
      this.adopt(connection, generation);
      this.#serve();
      this.#grow();
    });
  }

  #onRoom(entry: Entry): void {
    if (entry.session.streams === 0) entry.idleSince = this.#options.now();
    if (this.#waiting.length === 0) return;
    this.#serve();
    this.#grow();
  }

  #onClose(entry: Entry): void {
    const at = this.#entries.indexOf(entry);
    if (at >= 0) this.#entries.splice(at, 1);
    if (!entry.retired) this.#options.onServerEnd?.();
    this.#grow();
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const session = this.#usable();
      if (!session) return;
      this.#waiting.shift()!.user.onSession(undefined, session);
    }
  }

  #fail(error: ProxyError): void {
    for (const { user } of this.#waiting.splice(0)) user.onSession(error, undefined);
  }

  #queueFull(why: string): ProxyError {
    return new ProxyError('queue-full', `${this.#options.name}: ${why}`, { source: 'proxy' });
  }
}
