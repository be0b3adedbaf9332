/** What RFC 9113 section 6 says of each frame's stream and size: whatever else a frame means, this must hold. */
import type { Breach } from './breach.ts';
import { errorCode, flag, frame } from './frames.ts';

interface Rule {
  name: string;
  /** Whether it belongs to a stream or to the connection; either where absent. */
  on?: 'stream' | 'connection';
  size?: (length: number, flags: number) => boolean;
}

const rules: Rule[] = [];
rules[frame.headers] = { name: 'HEADERS', on: 'stream' };
// A wrong size is the stream's error only (section 6.3).
rules[frame.priority] = { name: 'PRIORITY', on: 'stream' };
rules[frame.rstStream] = { name: 'RST_STREAM', on: 'stream', size: (length) => length === 4 };
rules[frame.settings] = {
  name: 'SETTINGS',
  on: 'connection',
  size: (length, flags) => (flags & flag.ack ? length === 0 : length % 6 === 0),
};
rules[frame.pushPromise] = { name: 'PUSH_PROMISE', on: 'stream' };
rules[frame.ping] = { name: 'PING', on: 'connection', size: (length) => length === 8 };
rules[frame.goaway] = { name: 'GOAWAY', on: 'connection', size: (length) => length >= 8 };
rules[frame.windowUpdate] = { name: 'WINDOW_UPDATE', size: (length) => length === 4 };
rules[frame.continuation] = { name: 'CONTINUATION', on: 'stream' };

/** For messages. */
export function frameName(type: number): string {
  return rules[type]?.name ?? `frames of type ${type}`;
}

/** undefined where the frame may be; types that are not known may always be (section 5.5). */
export function frameBreach(type: number, flags: number, stream: number, length: number): Breach | undefined {
  const rule = rules[type];
  if (!rule) return undefined;
  if (rule.on === 'stream' && stream === 0) {
    return { code: errorCode.protocolError, message: `${rule.name} on no stream` };
  }
  if (rule.on === 'connection' && stream !== 0) {
    return { code: errorCode.protocolError, message: `${rule.name} on a stream` };
  }
  if (rule.size && !rule.size(length, flags)) {
    return { code: errorCode.frameSizeError, message: `${rule.name} of a wrong size` };
  }
  return undefined;
}

/** What may come now: first the peer's SETTINGS, and nothing between the frames of a header block (section 6.10). */
export function orderBreach(
  type: number,
  flags: number,
  stream: number,
  settled: boolean,
  openBlock: number,
): Breach | undefined {
  const code = errorCode.protocolError;
  if (openBlock > 0 && (type !== frame.continuation || stream !== openBlock)) {
    return { code, message: 'a header block is interrupted' };
  }
  if (openBlock === 0 && type === frame.continuation) return { code, message: 'CONTINUATION of nothing' };
  if (settled || (type === frame.settings && !(flags & flag.ack))) return undefined;
  return { code, message: 'the first frame is not SETTINGS' };
}
