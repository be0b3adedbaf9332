/** Tells which of two connected ends speaks first; what it said is put back, and both ends are paused. */
import type { Duplex } from 'node:stream';
import { owned } from './shared-reads.ts';

export type Speaker = 'client' | 'server' | 'http2-server' | 'ended';

/**
 * Calls back once. `ended`: one side ended or closed before a byte came. `http2-server`: it said what HTTP/2 servers may
 * say before they have heard their client (RFC 9113 section 3.4), so that the client's first bytes still decide.
 */
export function firstSpeaker(client: Duplex, server: Duplex, callback: (speaker: Speaker) => void): void {
  const finish = (speaker: Speaker) => {
    for (const [side, onData] of [
      [client, onClientData],
      [server, onServerData],
    ] as const) {
      side.pause();
      side.removeListener('data', onData).removeListener('end', onEnd).removeListener('close', onEnd);
      side.removeListener('error', onEnd);
    }
    callback(speaker);
  };
  const onClientData = (chunk: Buffer) => {
    client.pause();
    client.unshift(owned(chunk));
    finish('client');
  };
  const onServerData = (chunk: Buffer) => {
    server.pause();
    server.unshift(owned(chunk));
    finish(beginsWithSettings(chunk) ? 'http2-server' : 'server');
  };
  const onEnd = () => finish('ended');
  client.on('data', onClientData).on('end', onEnd).on('close', onEnd).on('error', onEnd);
  server.on('data', onServerData).on('end', onEnd).on('close', onEnd).on('error', onEnd);
  client.resume();
  server.resume();
}

/** The head of a SETTINGS frame: at most a dozen settings of six bytes each, no flags, no stream. */
function beginsWithSettings(bytes: Buffer): boolean {
  if (bytes.length < 9 || bytes.readUInt16BE(0) !== 0) return false;
  return bytes[2]! <= 72 && bytes[2]! % 6 === 0 && bytes[3] === 4 && bytes[4] === 0 && bytes.readUInt32BE(5) === 0;
}
