/** HTTP/2 settings of HBONE, both ends. */

/** Bytes one stream, and one connection, may have in flight; the connection's is larger: equal windows deadlock. */
export const streamWindow = 1 << 20;
export const connectionWindow = 16 << 20;
export const maxStreams = 200;

export const sessionOptions = {
  settings: {
    initialWindowSize: streamWindow,
    maxConcurrentStreams: maxStreams,
    maxFrameSize: 16384,
    maxHeaderListSize: 16384,
    enablePush: false,
  },
  maxSessionMemory: 64,
  // A peer that resets streams faster than this is ended (CVE-2023-44487).
  streamResetBurst: 1000,
  streamResetRate: 200,
};
