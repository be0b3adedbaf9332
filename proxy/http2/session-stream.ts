/** The seam between an HTTP/2 connection and its streams, which are of two kinds: bytes (tunnels) and messages. */
import type { HeaderList } from './header-list.ts';

/** What a stream needs of its connection. */
export interface StreamOwner {
  /** Whether another stream could be begun. */
  readonly usable: boolean;
  /** `block`: an encoded header block. */
  sendHeaders(stream: SessionStream, block: Buffer, end: boolean): void;
  /** Sends as much as windows allow; how much that was. `end`: the stream ends behind the chunk. */
  sendData(stream: SessionStream, chunk: Buffer, end: boolean): number;
  /** So much is unsent that whoever sends had better wait; `waitsForWindow` tells when it has gone. */
  readonly blocked: boolean;
  waitsForWindow(stream: SessionStream): void;
  /** Offers read bytes as window to the peer; whether they were given. */
  widen(stream: SessionStream, credit: number): boolean;
  /** One direction has ended; once both have, the stream is no longer the owner's. */
  halfClosed(stream: SessionStream): void;
  /** The stream is over for its user; reset at the peer where it was still open. */
  closed(stream: SessionStream, code: number): void;
}

/** What a connection does with its streams. */
export interface SessionStream {
  readonly id: number;
  /** Bytes that the peer allows this end, and this end the peer. */
  sendWindow: number;
  receiveWindow: number;
  /** Whether this end may still send, and whether the peer may. */
  localOpen: boolean;
  remoteOpen: boolean;
  /** Whether something waits for a window. */
  readonly queued: boolean;
  /** Sends what windows allow of what waits. */
  pump(): void;
  /** Headers behind those that began it: a response's, or a trailer. */
  receiveHeaders(list: HeaderList, end: boolean): void;
  receive(content: Buffer, end: boolean): void;
  /** The headers that began it were all. */
  receiveEnd(): void;
  /** Bytes of its window that need nobody's attention any more. */
  credit(bytes: number): void;
  /** Ends both directions at once, with a code of RFC 9113 section 7. */
  reset(code: number): void;
  /** The peer has said all and wants to hear no more (RFC 9113 section 8.1): what it said stays to be read. */
  stopSending(): void;
  /** The session is gone, or the peer has reset the stream. */
  abort(error: StreamReset): void;
}

export type StreamFactory<S> = (owner: StreamOwner, id: number, sendWindow: number, receiveWindow: number) => S;

/** The peer, or this end, has ended the stream out of order. */
export class StreamReset extends Error {
  /** Of RFC 9113 section 7. */
  readonly code: number;
  /** The whole connection is over. */
  readonly lost: boolean;

  constructor(code: number, message: string, lost = false) {
    super(message);
    this.name = 'StreamReset';
    this.code = code;
    this.lost = lost;
  }
}
