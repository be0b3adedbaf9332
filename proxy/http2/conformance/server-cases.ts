/** Says bytes to a listening proxy and looks at what comes of it: the server's side of RFC 9113, case by case. */
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { http2Server } from '../../test-http2.ts';
import { type Door, openDoor } from '../../test-http2-door.ts';
import { until } from '../../test-peer.ts';
import { codeNames, get, headers, preface, settings } from './raw-frames.ts';
import { RawPeer } from './raw-peer.ts';

/** Bytes to send, or what to wait for. */
export type Step = Uint8Array | ((peer: RawPeer) => unknown);

export type Verdict =
  /** A connection error of the code. */
  | { goaway: number }
  /** A stream error of the code, on stream 1 where nothing else is said; the connection goes on. */
  | { reset: number; on?: number }
  /** An answer, likewise. */
  | { status: number; on?: number }
  /** No error. */
  | 'passes';

export interface Case {
  /** Of RFC 9113 where nothing else is said. */
  section: string;
  /** What it demands. */
  must: string;
  /** Behind preface and SETTINGS, or from the first byte where `bare`. */
  send: Step[];
  bare?: boolean;
  verdict: Verdict;
}

/** What is sent is a connection error of the code (section 5.4.1). */
export const connectionError = (section: string, what: string, code: number, ...send: Step[]): Case => ({
  section,
  must: `${what}: a connection error of ${codeNames[code]}`,
  send,
  verdict: { goaway: code },
});

/** What is sent is a stream error of the code on stream 1 (section 5.4.2). */
export const streamError = (section: string, what: string, code: number, ...send: Step[]): Case => ({
  section,
  must: `${what}: a stream error of ${codeNames[code]}`,
  send,
  verdict: { reset: code },
});

let door: Door;
let server: Server;
let sessions: Set<ServerHttp2Session>;
const peers: RawPeer[] = [];
/** Headers of the requests that reached the application. */
export const seen: IncomingHttpHeaders[] = [];
/** Higher than streams of cases. */
const lateStream = 2001;

/** What the application was asked for on `/endless`. */
export const written = { streams: new Set<ServerHttp2Stream>(), bytes: 0 };

function endless(stream: ServerHttp2Stream): void {
  written.streams.add(stream);
  stream.respond({ ':status': 200 });
  const chunk = Buffer.alloc(16_384);
  const more = () => {
    written.bytes += chunk.length;
    stream.write(chunk, (error) => error || more());
  };
  more();
}

/** `/endless` is answered without end, `/stuck` is not even read, `/hold` never answered, `/large` with 200,000 bytes, all else with a word at its end. */
function answer(stream: ServerHttp2Stream, head: IncomingHttpHeaders): void {
  seen.push(head);
  if (head[':path'] === '/stuck') return;
  stream.resume();
  if (head[':path'] === '/hold') return;
  if (head[':path'] === '/endless') return endless(stream);
  stream.on('end', () => {
    if (stream.destroyed) return;
    stream.respond({ ':status': 200 });
    stream.end(head[':path'] === '/large' ? Buffer.alloc(200_000, 'x') : 'fine');
  });
}

/** A door for each test of a file. */
export function useDoor(): void {
  beforeEach(async () => {
    seen.length = 0;
    written.streams.clear();
    written.bytes = 0;
    const origin = http2Server(answer);
    sessions = origin.sessions;
    server = origin.server;
    await once(server.listen(0, '127.0.0.1'), 'listening');
    door = await openDoor((server.address() as AddressInfo).port);
  });
  afterEach(() => {
    for (const peer of peers.splice(0)) peer.socket.destroy();
    door.close();
    for (const session of sessions) session.destroy();
    server.close();
  });
}

async function dialBare(): Promise<RawPeer> {
  const socket = connect(door.port, '127.0.0.1');
  const peer = new RawPeer(socket);
  peers.push(peer);
  await once(socket, 'connect');
  return peer;
}

/** A client that has sent its preface and SETTINGS. */
export async function dial(...values: number[]): Promise<RawPeer> {
  const peer = await dialBare();
  peer.send(preface, settings(...values));
  return peer;
}

/** The door's own connection of the peer dialled last. */
export const lastConnection = () => door.connections.at(-1)!;

/** Waits for the answer on a stream to end. */
export const ended =
  (stream: number): Step =>
  (peer) =>
    until(() => peer.closed || peer.hasEnded(stream), 'an answer');
/** Waits until all that was sent has been read. */
export const fence: Step = (peer) => peer.fence();

async function judge(peer: RawPeer, verdict: Verdict): Promise<void> {
  if (verdict !== 'passes' && 'goaway' in verdict) return peer.endsWith(verdict.goaway);
  if (verdict === 'passes') await peer.fence();
  else if ('reset' in verdict) await peer.resets(verdict.on ?? 1, verdict.reset);
  else await peer.answers(verdict.on ?? 1, verdict.status);
  peer.send(headers(lateStream, get));
  await peer.answers(lateStream, 200);
  expect(peer.goaway).toBeUndefined();
  if (verdict === 'passes') expect(peer.frames.filter(({ type }) => type === 3)).toEqual([]);
}

export function checkServer(cases: Case[]): void {
  useDoor();
  test.each(cases.map((one) => [`${one.section}: ${one.must}`, one] as const))('%s', async (_, one) => {
    const peer = one.bare ? await dialBare() : await dial();
    for (const step of one.send) {
      if (step instanceof Uint8Array) peer.send(step);
      else await step(peer);
    }
    await judge(peer, one.verdict);
  });
}
