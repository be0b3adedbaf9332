/** What a head says otherwise when it goes on: header lines put in or left out by the proxy. */
import type { HeaderList } from '../http2/header-list.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';

/**
 * Made only where there is something to say: `editRequest(exchange)` and `editResponse(exchange)` in exchange.ts. Names
 * are in lower case, never a pseudo-header nor Host, Content-Length, Connection, Transfer-Encoding or Upgrade; values
 * are latin1 without control characters.
 */
export class HeadEdit {
  readonly #set: string[] = [];
  readonly #names = new Set<string>();

  /** One line of this name, in place of all that the sender and earlier calls said by it. */
  set(name: string, value: string): void {
    this.add(name, value);
    this.#names.add(name);
  }

  /** The same where the sender said nothing by this name: its lines need not be looked through. */
  add(name: string, value: string): void {
    this.#takeOut(name);
    this.#set.push(name, value);
  }

  /** No line of this name. */
  drop(name: string): void {
    this.#takeOut(name);
    this.#names.add(name);
  }

  #takeOut(name: string): void {
    for (let at = 0; at < this.#set.length; at += 2) {
      if (this.#set[at] === name) return void this.#set.splice(at, 2);
    }
  }

  /** Names whose lines of the sender's do not go on. */
  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /** What is put in: name, value, name, value… */
  get fields(): readonly string[] {
    return this.#set;
  }

  /** The block of an HTTP/2 head that says so. */
  applyTo(list: HeaderList): Buffer {
    const { block } = list.without(this.#names);
    return this.#set.length === 0 ? block : Buffer.concat([block, encodeHeaders(this.#set)]);
  }
}
