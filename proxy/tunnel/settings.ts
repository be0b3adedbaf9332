/** HTTP/2 settings of HBONE, both ends. */
import type { Http2Settings } from '../http2/settings.ts';

/**
 * A stream's window is what a reader that stopped reading can cost this end, times the streams of a connection; at 2 ms
 * from peer to peer it still carries 128 MB/s.
 */
export const tunnelSettings: Http2Settings = {
  streamWindow: 256 << 10,
  connectionWindow: 16 << 20,
  maxStreams: 200,
  maxHeaderListBytes: 16_384,
};
