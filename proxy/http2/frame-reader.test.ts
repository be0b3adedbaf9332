/** Frames are the same in whatever pieces their bytes come. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameReader } from './frame-reader.ts';
import { flag, frame, shortFrame, uint32 } from './frames.ts';

interface Seen {
  frames: string[];
  /** Content of all DATA. */
  text: string;
}

function read(chunks: Buffer[]): Seen {
  const frames: string[] = [];
  let text = '';
  const reader = new FrameReader(false, {
    onDataHead: (stream, length) => frames.push(`data ${stream} ${length}`),
    onPadding: (stream, length) => frames.push(`padding ${stream} ${length}`),
    onData(stream, content, end) {
      text += content;
      if (end) frames.push(`end ${stream}`);
    },
    onFrame: (type, flags, stream, payload) => frames.push(`${type} ${flags} ${stream} ${payload.toString('hex')}`),
    onBreach: ({ message }) => frames.push(message),
  });
  for (const chunk of chunks) reader.push(chunk);
  return { frames, text };
}

test('any split of the bytes gives the same frames', () => {
  const bytes = Buffer.concat([
    shortFrame(frame.headers, flag.endHeaders, 1, Buffer.from('a block')),
    shortFrame(frame.data, 0, 1, Buffer.from('hello, ')),
    shortFrame(frame.data, flag.padded, 1, Buffer.from([1, 119, 0])),
    shortFrame(frame.data, flag.endStream, 1, Buffer.from('orld')),
    shortFrame(frame.data, 0, 3, Buffer.alloc(0)),
    shortFrame(frame.windowUpdate, 0, 0, uint32(7)),
  ]);
  const whole = read([bytes]);
  expect(whole).toEqual({
    frames: [
      ...[
        `1 4 1 ${Buffer.from('a block').toString('hex')}`,
        'data 1 7',
        'data 1 3',
        'padding 1 2',
        'data 1 4',
        'end 1',
      ],
      ...['data 3 0', '8 0 0 00000007'],
    ],
    text: 'hello, world',
  });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      expect(read(places.slice(1).map((end, i) => bytes.subarray(places[i]!, end)))).toEqual(whole);
    }),
  );
});
