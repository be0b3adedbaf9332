/** The other end of an HTTP/2 connection, that says any bytes and notes the frames it hears. */
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  ACK,
  cut,
  DATA,
  END_STREAM,
  GOAWAY,
  HEADERS,
  PING,
  ping,
  type RawFrame,
  RST_STREAM,
  SETTINGS,
  statusOf,
} from './raw-frames.ts';

export class RawPeer {
  readonly socket: Socket;
  readonly frames: RawFrame[] = [];
  closed = false;
  #rest: Buffer = Buffer.alloc(0);
  #pings = 0;

  /** `prefaceBytes`: of the other end's, before its first frame. */
  constructor(socket: Socket, prefaceBytes = 0) {
    this.socket = socket;
    let skip = prefaceBytes;
    socket.setNoDelay(true);
    socket.on('error', () => {}); // its close is what tests look at
    socket.on('close', () => {
      this.closed = true;
    });
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(skip, chunk.length);
      skip -= skipped;
      const { frames, rest } = cut(Buffer.concat([this.#rest, chunk.subarray(skipped)]));
      this.frames.push(...frames);
      this.#rest = rest;
    });
  }

  send(...what: Uint8Array[]): void {
    this.socket.write(Buffer.concat(what));
  }

  of(type: number, stream?: number): RawFrame[] {
    return this.frames.filter((one) => one.type === type && (stream === undefined || one.stream === stream));
  }

  /** Codes of GOAWAY, and of the stream's reset; undefined without one. */
  get goaway(): number | undefined {
    return this.of(GOAWAY).at(-1)?.payload.readUInt32BE(4);
  }

  resetOf(stream: number): number | undefined {
    return this.of(RST_STREAM, stream)[0]?.payload.readUInt32BE(0);
  }

  /** Statuses that the stream was answered with, interim ones too. */
  statuses(stream: number): number[] {
    return this.of(HEADERS, stream)
      .map(({ payload }) => statusOf(payload))
      .filter((status) => status !== undefined);
  }

  contentOf(stream: number): Buffer {
    return Buffer.concat(this.of(DATA, stream).map(({ payload }) => payload));
  }

  hasEnded(stream: number): boolean {
    return this.frames.some(
      (one) => one.stream === stream && (one.type === DATA || one.type === HEADERS) && (one.flags & END_STREAM) !== 0,
    );
  }

  get acknowledgedSettings(): number {
    return this.of(SETTINGS).filter(({ flags }) => flags & ACK).length;
  }

  /** Waits until the other end has read all that was sent: it answers a PING behind it. */
  async fence(): Promise<void> {
    const payload = `fence${String(this.#pings++).padStart(3, '0')}`;
    this.send(ping(payload));
    await until(
      () => this.closed || this.of(PING).some((one) => String(one.payload) === payload),
      'the answer to a PING',
    );
  }

  /** A connection error: GOAWAY with the code, and the end (section 5.4.1). */
  async endsWith(code: number): Promise<void> {
    await until(() => this.closed, 'the end of the connection');
    expect(this.goaway).toBe(code);
  }

  /** A stream error: RST_STREAM with the code, and all else goes on (section 5.4.2). */
  async resets(stream: number, code: number): Promise<void> {
    await until(() => this.closed || this.resetOf(stream) !== undefined, `the reset of stream ${stream}`);
    expect(this.resetOf(stream)).toBe(code);
    expect(this.goaway).toBeUndefined();
  }

  /** The stream's final status. */
  async answers(stream: number, status: number): Promise<void> {
    const final = () => this.statuses(stream).find((one) => one >= 200);
    const over = () => this.closed || this.resetOf(stream) !== undefined;
    await until(() => over() || final() !== undefined, `the answer on stream ${stream}`);
    expect(final()).toBe(status);
  }
}
