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
