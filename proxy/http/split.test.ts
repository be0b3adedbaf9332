/** Any split of any input into chunks gives the same result: heads, bodies, and whole conversations. */
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Endpoint } from '../../protocol/discovery.ts';
import type { Carrier, CarrierCallback, CarrierHandler } from '../carrier.ts';
import { TimerWheel } from '../net/timer-wheel.ts';
import { BodyFramer } from './body-framer.ts';
import type { Exchange } from './exchange.ts';
import { HeadParser } from './head-parser.ts';
import { Http1Connection } from './http1-connection.ts';

// === Inputs: well formed, nearly so, and not at all ===

const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
const value = fc.stringMatching(/^[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,30}[\x21-\x7e\x80-\xff])?$/);
const header = fc.oneof(
  fc.tuple(token, value).map(([name, text]) => `X-${name}: ${text}`),
  fc.constantFrom(
    'Host: web',
    'Content-Length: 5',
    'Transfer-Encoding: chunked',
    'Connection: close',
    'Connection: x-a, keep-alive',
    'Connection: Upgrade',
    'Upgrade: chat',
    'X-A: 1',
    'TE: trailers',
    'TE: gzip',
    'Expect: 100-continue',
    'Keep-Alive: 5',
  ),
);
/** One fault, rarely. */
const fault = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: fc.constantFrom(' folded', 'no colon', 'X : 1', 'X: \0', 'X: a\rb', ': x', 'X: a\nY: b') },
);
const lineEnd = fc.oneof({ weight: 30, arbitrary: fc.constant('\r\n') }, { weight: 1, arbitrary: fc.constant('\n') });

const headOf = (first: fc.Arbitrary<string>) =>
  fc
    .tuple(first, fc.array(header, { maxLength: 6 }), fault, lineEnd)
    .map(([line, headers, bad, end]) => `${[line, ...headers, ...(bad ? [bad] : [])].join(end)}${end}\r\n`);
const requestLine = fc.constantFrom(
  'GET / HTTP/1.1',
  'POST /a?b=%20 HTTP/1.1',
  'HEAD http://web/ HTTP/1.1',
  'OPTIONS * HTTP/1.0',
  'GET  / HTTP/1.1',
  'CONNECT a:1 HTTP/1.1',
  'GET / HTTP/2.0',
  '\r\nGET / HTTP/1.1',
);
const statusLine = fc.constantFrom(
  'HTTP/1.1 200 OK',
  'HTTP/1.0 404 ',
  'HTTP/1.1 204',
  'HTTP/1.1 20 OK',
  'HTTP/1.1 101 Go',
);

const chunk = fc
  .tuple(fc.stringMatching(/^[ -~]{1,40}$/), fc.constantFrom('', ';a', ' ;a=b', ';a="b c"', ' '))
  .map(([text, extension]) => `${text.length.toString(16)}${extension}\r\n${text}\r\n`);
const chunked = fc
  .tuple(
    fc.array(chunk, { maxLength: 5 }),
    fc.array(fc.tuple(token, value), { maxLength: 3 }),
    fc.constantFrom('', '', '', 'bad trailer\r\n', 'g\r\n'),
  )
  .map(([chunks, trailers, bad]) => {
    const lines = trailers.map(([name, text]) => `${name}: ${text}\r\n`);
    return `${chunks.join('')}0\r\n${lines.join('')}${bad}\r\n`;
  });

const cuts = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 8 });

/** Cuts a text into chunks of the given sizes, taken in turn. */
function split(text: string, sizes: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  const parts: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + sizes[i % sizes.length]!;
    parts.push(bytes.subarray(at, end));
    at = end;
  }
  return parts;
}

// === Heads ===

function readHead(kind: 'request' | 'response', parts: readonly Buffer[]): unknown {
  const parser = new HeadParser(kind);
  let bytes = Buffer.alloc(0);
  let end = 0;
  for (const part of parts) {
    bytes = Buffer.concat([bytes, part]);
    end = parser.parse(bytes, 0);
    if (end !== 0) break;
  }
  if (end <= 0) return { end, error: parser.error };
  const { method, status, minor, contentLength, connectionClose, connectionKeepAlive, upgrade, dropped } = parser;
  const fields = { method, status, minor, contentLength, connectionClose, connectionKeepAlive, upgrade };
  return { end, chunked: parser.chunked, expect: parser.expectContinue, dropped: [...dropped], ...fields };
}

test.each([
  ['request', headOf(requestLine)],
  ['response', headOf(statusLine)],
] as const)('a %s head reads the same from any split', (kind, heads) => {
  const seen = { good: 0, bad: 0 };
  fc.assert(
    fc.property(heads, cuts, (text, sizes) => {
      const whole = readHead(kind, [Buffer.from(`${text}BODY`, 'latin1')]);
      if ((whole as { end: number }).end > 0) seen.good++;
      else seen.bad++;
      expect(readHead(kind, split(`${text}BODY`, sizes))).toEqual(whole);
    }),
    { numRuns: 1000 },
  );
  // Both kinds of input came up, or this proves nothing.
  expect(Math.min(seen.good, seen.bad)).toBeGreaterThan(50);
});

// === Bodies ===

function readBody(parts: readonly Buffer[]): unknown {
  const framer = new BodyFramer();
  framer.start('chunked', 0);
  let taken = 0;
  for (const part of parts) {
    const end = framer.take(part, 0);
    taken += end;
    if (framer.error) return 'failed';
    if (framer.done) return taken;
  }
  return `unfinished after ${taken}`;
}

test('a chunked body with trailers ends at the same byte however it is split', () => {
  const seen = { done: 0, failed: 0 };
  fc.assert(
    fc.property(chunked, cuts, (text, sizes) => {
      const whole = readBody([Buffer.from(`${text}NEXT`, 'latin1')]);
      if (whole === text.length) seen.done++;
      if (whole === 'failed') seen.failed++;
      expect(readBody(split(`${text}NEXT`, sizes))).toEqual(whole);
    }),
    { numRuns: 1000 },
  );
  expect(Math.min(seen.done, seen.failed)).toBeGreaterThan(50);
});

// === Conversations: what the engine sends to each side ===

/** A connection whose bytes arrive when the test says so. */
class Wire extends Duplex {
  written = '';
  constructor() {
    super({ allowHalfOpen: true });
  }
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.written += bytes.toString('latin1');
    done();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

interface Outcome {
  toServer: string;
  toClient: string;
  refused: string;
  /** Status, and error where there was one, of each exchange. */
  ends: string[];
  /** Whether the response was complete. */
  answered: boolean;
}

/** Feeds both sides; gives what each of them received in all. */
async function converse(requests: readonly Buffer[], responses: readonly Buffer[]): Promise<Outcome> {
  const client = new Wire();
  const timers = new TimerWheel();
  const endpoint = { address: '127.0.0.1:80' } as Endpoint;
  let toServer = '';
  let refused = '';
  let current: Carrier | undefined;
  const make = (): Carrier => {
    const carrier: Carrier & { handler: CarrierHandler | undefined } = {
      endpoint,
      secure: false,
      reused: false,
      handler: undefined,
      write(bytes) {
        toServer += bytes.toString('latin1');
        return true;
      },
      pause() {},
      resume() {},
      release() {
        current = undefined;
      },
      retire() {
        current = undefined;
      },
      destroy() {
        current = undefined;
      },
      detach() {
        current = undefined;
        return new Wire();
      },
    };
    return carrier;
  };
  const ends: string[] = [];
  const connection = new Http1Connection(client, undefined, {
    target: {
      acquire(exchange: Exchange, callback: CarrierCallback) {
        exchange.endpoint = endpoint;
        current = make();
        callback(undefined, current);
      },
    },
    observer: {
      requestBegin() {},
      attemptEnd() {},
      requestEnd: ({ status, error }) => void ends.push(error ? `${status} ${error.code}` : `${status}`),
    },
    timers,
    errorHeader: true,
    onClose() {},
    onRefused(code) {
      refused = code;
    },
  });
  for (const part of requests) {
    client.push(part);
    await turn();
  }
  for (const part of responses) current?.handler?.onCarrierData(part);
  await turn();
  const answered = ends.length > 0 && !ends[0]!.includes(' ');
  const result = { toServer, toClient: client.written, refused, ends, answered };
  connection.destroy();
  timers.stop();
  return result;
}

test('a request and its response pass the same however they are split', async () => {
  const response = fc
    .tuple(headOf(fc.constantFrom('HTTP/1.1 200 OK', 'HTTP/1.1 404 Not Found')), chunked)
    .map(([head, body]) => {
      const lines = head.split('\r\n').filter((line) => !/^(content-length|transfer-encoding|upgrade)/i.test(line));
      return [lines[0], 'Transfer-Encoding: chunked', ...lines.slice(1)].join('\r\n') + body;
    });
  const request = fc.tuple(fc.array(header, { maxLength: 4 }), chunked).map(([headers, body]) => {
    const kept = headers.filter((line) => !/^(host|content-length|transfer-encoding|upgrade)/i.test(line));
    return `${['POST /x HTTP/1.1', 'Host: web', ...kept, 'Transfer-Encoding: chunked'].join('\r\n')}\r\n\r\n${body}`;
  });
  const outcomes = new Set<string>();
  await fc.assert(
    fc.asyncProperty(request, response, cuts, cuts, async (asked, answered, one, other) => {
      const whole = await converse(split(asked, [asked.length]), split(answered, [answered.length]));
      const cut = await converse(split(asked, one), split(answered, other));
      outcomes.add(whole.refused || whole.ends.join());
      expect([cut.refused, cut.answered]).toEqual([whole.refused, whole.answered]);
      if (whole.answered) expect(cut).toEqual(whole);
      // What turns out malformed has been passed on up to there, however much that was.
      else if (whole.refused) expect(cut.toClient).toBe(whole.toClient);
      else expect(cut.ends).toEqual(whole.ends);
    }),
    { numRuns: 400 },
  );
  expect([...outcomes]).toEqual(expect.arrayContaining(['200', '404', '200 bad-response', 'bad-chunk']));
});

// === What is refused, and as what ===

test.each([
  ['GET / HTTP/1.1\r\n\r\n', 'host-missing'],
  ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 'host-repeated'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 'length-repeated'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'length-and-chunked'],
  ['POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', 'transfer-encoding-in-http-1-0'],
  ['GET / HTTP/1.1\nHost: a\r\n\r\n', 'bare-lf'],
  ['GET / HTTP/1.1\r\nHost : a\r\n\r\n', 'bad-header-name'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n', 'bad-header-value'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 'bad-header-value'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n', 'folded-header'],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'method-refused'],
])('%j is refused as %s', (text, code) => {
  const parser = new HeadParser('request');
  expect(parser.parse(Buffer.from(text, 'latin1'), 0)).toBe(-1);
  expect(parser.error).toBe(code);
});
