/** Tells which of two connected ends speaks first; what it said is put back, and both ends are paused. */
import type { Duplex } from 'node:stream';

export type Speaker = 'client' | 'server' | 'ended';

/** Calls back once. `ended`: one side ended or closed before a byte came. */
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
    client.unshift(chunk);
    finish('client');
  };
  const onServerData = (chunk: Buffer) => {
    server.pause();
    server.unshift(chunk);
    finish('server');
  };
  const onEnd = () => finish('ended');
  client.on('data', onClientData).on('end', onEnd).on('close', onEnd).on('error', onEnd);
  server.on('data', onServerData).on('end', onEnd).on('close', onEnd).on('error', onEnd);
  client.resume();
  server.resume();
}
