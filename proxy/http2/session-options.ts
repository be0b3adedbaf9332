/** What an HTTP/2 connection is given, and what it tells. */

import type { WriteBlocks } from '../net/write-blocks.ts';
import type { HeaderList } from './header-list.ts';
import type { SessionStream, StreamFactory } from './session-stream.ts';
import type { Http2Settings, Role } from './settings.ts';

export interface Http2SessionOptions<S extends SessionStream> {
  role: Role;
  settings: Http2Settings;
  makeStream: StreamFactory<S>;
  /** What is written waits in these; else in large ones. */
  writeBlocks?: WriteBlocks;
  /** The peer began a stream. `end`: it has no content. Server only. */
  onStream?: (stream: S, list: HeaderList, end: boolean) => void;
  /** The peer began a stream with more headers than are read; without a listener it is reset. */
  onTooLarge?: (stream: S) => void;
  /** No new stream can be begun from now on. */
  onGoaway?: () => void;
  /** There may be room for another stream: one has ended, or the peer allows more. */
  onRoom?: () => void;
  /** The connection is over; called once, with the cause where it was not ended in order. */
  onClose: (error: Error | undefined) => void;
}
