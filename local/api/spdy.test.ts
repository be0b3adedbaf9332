import { constants, createDeflate, type Deflate } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headerDictionary, SpdyConnection, type SpdyStream } from './spdy.ts';

function uint32(value: number): Buffer {
  const made = Buffer.alloc(4);
  made.writeUInt32BE(value);
  return made;
}

/** The client's end: one compression context for all its header blocks. */
class Client {
  readonly #deflate: Deflate = createDeflate({ dictionary: headerDictionary });

  #compress(plain: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      const collect = (chunk: Buffer): void => void chunks.push(chunk);
      this.#deflate.on('data', collect);
      this.#deflate.write(plain);
      this.#deflate.flush(constants.Z_SYNC_FLUSH, () => {
        setImmediate(() => {
          this.#deflate.off('data', collect);
          resolve(Buffer.concat(chunks));
        });
      });
    });
  }

  async open(id: number, headers: Record<string, string>, flags = 0): Promise<Buffer> {
    const text = (value: string): Buffer[] => [uint32(Buffer.byteLength(value)), Buffer.from(value)];
    const pairs = Object.entries(headers);
    const plain = Buffer.concat([
      uint32(pairs.length),
      ...pairs.flatMap(([name, value]) => [...text(name), ...text(value)]),
    ]);
    const block = await this.#compress(plain);
    return this.control(1, Buffer.concat([uint32(id), uint32(0), Buffer.alloc(2), block]), flags);
  }

  control(type: number, payload: Buffer, flags = 0, version = 3): Buffer {
    const header = Buffer.alloc(8);
    header.writeUInt16BE(0x8000 | version, 0);
    header.writeUInt16BE(type, 2);
    header[4] = flags;
    header.writeUIntBE(payload.length, 5, 3);
    return Buffer.concat([header, payload]);
  }

  data(id: number, text: string, flags = 0): Buffer {
    return Buffer.concat([uint32(id), uint32((flags << 24) | text.length), Buffer.from(text)]);
  }
}

function accepting(): { connection: SpdyConnection; seen: string[]; sent: Buffer[]; streams: SpdyStream[] } {
  const [seen, sent, streams]: [string[], Buffer[], SpdyStream[]] = [[], [], []];
  const connection = new SpdyConnection(
    (frame) => sent.push(frame),
    (stream) => {
      streams.push(stream);
      seen.push(`open ${stream.id} ${JSON.stringify([...stream.headers])}`);
      stream.onData = (data) => seen.push(`${stream.id} ${data === undefined ? 'end' : data.toString()}`);
      stream.onReset = () => seen.push(`${stream.id} reset`);
    },
  );
  return { connection, seen, sent, streams };
}

test('streams and their data arrive whole, wherever the bytes are cut', async () => {
  const client = new Client();
  const bytes = Buffer.concat([
    await client.open(1, { streamType: 'error', port: '80', requestID: '0' }, 1),
    await client.open(3, { streamType: 'data', port: '80', requestID: '0' }),
    client.data(3, 'hello'),
    client.control(9, Buffer.concat([uint32(3), uint32(100)])),
    client.data(3, ' world', 1),
    await client.open(5, { streamType: 'data', port: '81', requestID: '1' }),
    client.control(3, Buffer.concat([uint32(5), uint32(5)])),
    client.data(5, 'late'),
  ]);
  const expected = [
    'open 1 [["streamtype","error"],["port","80"],["requestid","0"]]',
    '1 end',
    'open 3 [["streamtype","data"],["port","80"],["requestid","0"]]',
    '3 hello',
    '3  world',
    '3 end',
    'open 5 [["streamtype","data"],["port","81"],["requestid","1"]]',
    '5 reset',
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
      const { connection, seen, sent } = accepting();
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      for (let at = 1; at < places.length; at++) connection.receive(bytes.subarray(places[at - 1], places[at]));
      expect(seen).toEqual(expected);
      // One SYN_REPLY for each stream.
      expect(sent.map((frame) => frame.readUInt16BE(2))).toEqual([2, 2, 2]);
    }),
  );
});

test('a ping comes back as it is; another version and an overlong frame are refused', () => {
  const client = new Client();
  const { connection, sent } = accepting();
  const ping = client.control(6, uint32(7));
  connection.receive(ping);
  expect(sent[0]!.equals(ping)).toBe(true);
  expect(() => accepting().connection.receive(client.control(6, uint32(7), 0, 2))).toThrow('SPDY version 2');
  const long = client.data(1, '');
  long.writeUIntBE(0xffffff, 5, 3);
  expect(() => accepting().connection.receive(long)).toThrow('too large');
});

test('data and its end go out as frames of their stream', async () => {
  const { connection, sent, streams } = accepting();
  connection.receive(await new Client().open(1, { streamType: 'data' }));
  connection.write(streams[0]!, Buffer.from('abc'));
  connection.end(streams[0]!);
  expect(sent.slice(1).map((frame) => frame.toString('hex'))).toEqual(['0000000100000003616263', '0000000101000000']);
});
