/** Frames of HTTP/2 (RFC 9113 sections 4, 6 and 7): names, and how they are written. */

export const frameHeaderBytes = 9;
/** The largest payload that may be sent before a peer allows more; this end neither allows nor sends more. */
export const maxFrameBytes = 16_384;
/** Of every connection and stream to begin with. */
export const initialWindow = 65_535;
/** Of every HPACK table to begin with. */
export const initialTableBytes = 4096;
/** Of a PRIORITY frame, and of what HEADERS may say of priorities. */
export const priorityBytes = 5;
export const maxWindow = 2 ** 31 - 1;
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const frame = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  /**
   * Of this mesh alone, from the server's proxy to the client's: the application is overloaded and has not seen the
   * request. A peer that does not know it takes it for an internal error (RFC 9113 section 7).
   */
  overloaded: 0x6d657368,
} as const;

/** Writes the nine bytes of a frame header at `at`. */
export function writeFrameHeader(
  to: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  to[at] = length >>> 16;
  to[at + 1] = length >>> 8;
  to[at + 2] = length;
  to[at + 3] = type;
  to[at + 4] = flags;
  to[at + 5] = stream >>> 24;
  to[at + 6] = stream >>> 16;
  to[at + 7] = stream >>> 8;
  to[at + 8] = stream;
}

/** A whole frame whose payload is short: settings, resets, window updates and the like. */
export function shortFrame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes + payload.length);
  writeFrameHeader(bytes, 0, payload.length, type, flags, stream);
  bytes.set(payload, frameHeaderBytes);
  return bytes;
}

/** The payload of frames that hold one number. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Setting, value, setting, value… */
export function settingsPayload(values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe((values.length / 2) * 6);
  for (let i = 0; i < values.length; i += 2) {
    bytes.writeUInt16BE(values[i]!, i * 3);
    bytes.writeUInt32BE(values[i + 1]!, i * 3 + 2);
  }
  return bytes;
}
