/** For tests: an HTTP/2 client that says anything, frame by frame, and notes what it hears. */
import { connect, type Socket } from 'node:net';
import { FrameReader } from './http2/frame-reader.ts';
import { errorCode, flag, frame, preface, settingsPayload, shortFrame, uint32 } from './http2/frames.ts';
import { HeaderBlocks } from './http2/header-blocks.ts';
import { encodeHeaders } from './http2/hpack-encoder.ts';

export class WireClient {
  readonly socket: Socket;
  /** Header lists by stream, oldest first. */
  readonly headers = new Map<number, (readonly string[])[]>();
  readonly content = new Map<number, string>();
  readonly ended = new Set<number>();
  /** Codes of resets by stream, and of GOAWAYs with the last stream they name. */
  readonly resets = new Map<number, number>();
  readonly goaways: { last: number; code: number }[] = [];
  closed = false;
  readonly #blocks = new HeaderBlocks(1 << 20);

  constructor(port: number, settings: readonly number[] = []) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket
      .on('error', () => {})
      .on('close', () => {
        this.closed = true;
      });
    const reader = new FrameReader(false, {
      onDataHead() {},
      onPadding() {},
      onData: (stream, content, end) => {
        this.content.set(stream, (this.content.get(stream) ?? '') + content.toString('latin1'));
        if (end) this.ended.add(stream);
      },
      onFrame: (type, flags, stream, payload) => this.#onFrame(type, flags, stream, payload),
      onBreach: () => this.socket.destroy(),
    });
    this.socket.on('data', (chunk: Buffer) => reader.push(chunk));
    this.socket.write(Buffer.concat([preface, shortFrame(frame.settings, 0, 0, settingsPayload(settings))]));
  }

  send(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): void {
    this.socket.write(shortFrame(type, flags, stream, payload));
  }

  /** A whole request without content, unless `end` is false. */
  request(stream: number, headers: readonly string[], end = true): void {
    this.send(frame.headers, flag.endHeaders | (end ? flag.endStream : 0), stream, encodeHeaders(headers));
  }

  data(stream: number, content: string, end = false): void {
    this.send(frame.data, end ? flag.endStream : 0, stream, Buffer.from(content));
  }

  cancel(stream: number): void {
    this.send(frame.rstStream, 0, stream, uint32(errorCode.cancel));
  }

  /** The first value of a header of the stream's last list. */
  value(stream: number, name: string): string | undefined {
    const list = this.headers.get(stream)?.at(-1);
    const at = list?.indexOf(name) ?? -1;
    return at < 0 ? undefined : list![at + 1];
  }

  #onFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === frame.rstStream) this.resets.set(stream, payload.readUInt32BE(0));
    else if (type === frame.goaway) {
      this.goaways.push({ last: payload.readUInt32BE(0), code: payload.readUInt32BE(4) });
    } else if (type === frame.ping && !(flags & flag.ack)) this.send(frame.ping, flag.ack, 0, Buffer.from(payload));
    else if (type === frame.headers || type === frame.continuation) {
      const block =
        type === frame.headers ? this.#blocks.begin(flags, stream, payload) : this.#blocks.go(flags, payload);
      if (!block || 'code' in block) return;
      this.headers.set(stream, [...(this.headers.get(stream) ?? []), block.list.fields]);
      if (block.end) this.ended.add(stream);
    }
  }
}
