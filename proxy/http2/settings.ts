/** What this end tells its peer of itself when a connection begins (RFC 9113 section 6.5). */
import { setting, settingsPayload } from './frames.ts';

export interface Http2Settings {
  /** Bytes of one stream that may be on their way to this end or unread. */
  streamWindow: number;
  /** Bytes of all streams that may be on their way. */
  connectionWindow: number;
  /** Streams that the peer may have open. */
  maxStreams: number;
  maxHeaderListBytes: number;
}

export type Role = 'client' | 'server';

/** Payload of the first SETTINGS frame. */
export function ownSettings(settings: Http2Settings, role: Role): Buffer {
  return settingsPayload([
    ...[setting.maxConcurrentStreams, settings.maxStreams],
    ...[setting.initialWindowSize, settings.streamWindow],
    ...[setting.maxHeaderListSize, settings.maxHeaderListBytes],
    ...(role === 'client' ? [setting.enablePush, 0] : []),
  ]);
}

/**
 * Of connections that carry requests, at either end. A stream's window is what a reader that stopped reading can make
 * this end hold; a connection's is wider than many of them, so that one does not hold up the others.
 */
export const requestSettings: Http2Settings = {
  streamWindow: 64 << 10,
  connectionWindow: 4 << 20,
  maxStreams: 200,
  maxHeaderListBytes: 64 << 10,
};
