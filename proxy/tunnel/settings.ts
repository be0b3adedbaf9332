/** HTTP/2 settings of HBONE, both ends. */
import type { Http2Settings } from '../http2/settings.ts';

/** The connection's window is larger than a stream's: equal ones deadlock. */
export const tunnelSettings: Http2Settings = {
  streamWindow: 1 << 20,
  connectionWindow: 16 << 20,
  maxStreams: 200,
  maxHeaderListBytes: 16_384,
};
