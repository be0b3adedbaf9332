/**
 * Requests as a server reads them: RFC 9113 section 8. One that is malformed is a stream error of PROTOCOL_ERROR; a
 * server may answer it first (section 8.1.1), which this one does with the reason, and an answer that ends the stream
 * needs no reset behind it. None reaches the application.
 */
import { expect, test } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  block,
  bytes,
  data,
  END_HEADERS,
  END_STREAM,
  get,
  headers,
  literal,
  NO_ERROR,
  open,
  PROTOCOL_ERROR,
  post,
} from './raw-frames.ts';
import { type Case, checkServer, dial, seen, streamError } from './server-cases.ts';

const withField = (name: string, value: string) => bytes(get, literal(name, value));
const head = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'test'];
const without = (name: string) => {
  const at = head.indexOf(name);
  return block(...head.slice(0, at), ...head.slice(at + 2));
};
const changed = (name: string, value: string) => {
  const at = head.indexOf(name);
  return block(...head.slice(0, at), name, value, ...head.slice(at + 2));
};
const twice = (name: string) => block(name, head[head.indexOf(name) + 1]!, ...head);
const lengthOf = (length: string) => bytes(post, literal('content-length', length));

const malformed: [section: string, what: string, block: Buffer][] = [
  ['8.2', 'a name in upper case', withField('X-Test', '1')],
  ['8.2', 'a name with one letter in upper case', withField('x-tesT', '1')],
  ['8.2.1', 'a name with a control character', withField('x\x01y', '1')],
  ['8.2.1', 'a name with a space', withField('x y', '1')],
  ['8.2.1', 'a name with DEL', withField('x\x7f', '1')],
  ['8.2.1', 'a name beyond ASCII', withField('x\xe9', '1')],
  ['8.2.1', 'a name with a colon that is not its first byte', withField('x:y', '1')],
  ['8.2.1', 'a name of nothing', withField('', '1')],
  ['8.2.1', 'a value with NUL', withField('x', 'a\0b')],
  ['8.2.1', 'a value with LF', withField('x', 'a\nb')],
  ['8.2.1', 'a value with CR', withField('x', 'a\rb')],
  ['8.2.1', 'a value that begins with a space', withField('x', ' a')],
  ['8.2.1', 'a value that ends with a space', withField('x', 'a ')],
  ['8.2.1', 'a value that begins with a tab', withField('x', '\ta')],
  ['8.2.1', 'a value that ends with a tab', withField('x', 'a\t')],
  ['8.2.2', 'Connection', withField('connection', 'close')],
  ['8.2.2', 'Proxy-Connection', withField('proxy-connection', 'keep-alive')],
  ['8.2.2', 'Keep-Alive', withField('keep-alive', '5')],
  ['8.2.2', 'Transfer-Encoding', withField('transfer-encoding', 'chunked')],
  ['8.2.2', 'Upgrade', withField('upgrade', 'h2c')],
  ['8.2.2', 'TE that is not trailers', withField('te', 'gzip')],
  ['8.2.2', 'TE that is trailers and more', withField('te', 'trailers, deflate')],
  ['8.3', 'an unknown pseudo-header field', withField(':test', '1')],
  ['8.3', 'a pseudo-header field of responses', withField(':status', '200')],
  ['8.3', 'a pseudo-header field behind others', block('x', '1', ...head)],
  ['8.3', 'a pseudo-header field between others', block(...head.slice(0, 6), 'x', '1', ...head.slice(6))],
  ['8.3.1', 'no :method', without(':method')],
  ['8.3.1', 'no :scheme', without(':scheme')],
  ['8.3.1', 'no :path', without(':path')],
  ['8.3.1', 'no :authority and no Host', without(':authority')],
  ['8.3.1', 'two :method', twice(':method')],
  ['8.3.1', 'two :scheme', twice(':scheme')],
  ['8.3.1', 'two :path', twice(':path')],
  ['8.3.1', 'two :authority', twice(':authority')],
  ['8.3.1', 'an empty :path', changed(':path', '')],
  ['8.3.1', 'a :path that does not begin with a slash', changed(':path', 'index')],
  ['8.3.1', 'a :path of * without OPTIONS', changed(':path', '*')],
  ['8.3.1', 'an empty :method', changed(':method', '')],
  ['8.3.1', 'an :authority with a user', changed(':authority', 'user@test')],
  ['8.3.1', 'an empty :authority', changed(':authority', '')],
  ['8.3.1', 'a Host that says another thing', withField('host', 'other')],
  ['8.1.1', 'a length that is no number', lengthOf('two')],
  ['8.1.1', 'two lengths', bytes(lengthOf('2'), literal('content-length', '2'))],
];

const cases: Case[] = [
  ...malformed.map(([section, what, one]) => ({
    section,
    must: `malformed, and answered so: ${what}`,
    send: [headers(1, one)],
    verdict: { status: 400 },
  })),
  ...(
    [
      ['more content than Content-Length', '2', [data(1, 'abc', END_STREAM)]],
      ['more than it in pieces', '2', [data(1, 'ab'), data(1, 'c', END_STREAM)]],
      ['less than it', '2', [data(1, 'a', END_STREAM)]],
      ['less than it, and a trailer', '2', [data(1, 'a'), headers(1, literal('x', '1'))]],
      ['none', '2', [data(1, '', END_STREAM)]],
    ] as [string, string, Buffer[]][]
  ).map(([what, length, rest]) =>
    streamError('8.1.1', what, PROTOCOL_ERROR, headers(1, lengthOf(length), END_HEADERS), ...rest),
  ),
  streamError('8.1.1', 'a length, and HEADERS alone', PROTOCOL_ERROR, headers(1, lengthOf('2'))),
  streamError(
    '8.1',
    'a trailer that does not end the stream',
    PROTOCOL_ERROR,
    open,
    headers(1, literal('x', '1'), END_HEADERS),
  ),
  streamError('8.3', 'a trailer with a pseudo-header field', PROTOCOL_ERROR, open, headers(1, block(':path', '/'))),
  streamError('8.2.1', 'a trailer with a name in upper case', PROTOCOL_ERROR, open, headers(1, literal('X', '1'))),
  { section: '8.1', must: 'content may be left out', send: [headers(1, lengthOf('0'))], verdict: { status: 200 } },
  {
    section: '8.1.1',
    must: 'the content of all DATA together is as long as it says',
    send: [headers(1, lengthOf('4'), END_HEADERS), data(1, 'ab'), data(1, 'c'), data(1, 'd'), data(1, '', END_STREAM)],
    verdict: { status: 200 },
  },
  {
    section: '8.2.2',
    must: 'TE may be trailers',
    send: [headers(1, withField('te', 'trailers'))],
    verdict: { status: 200 },
  },
  {
    section: '8.3.1',
    must: 'OPTIONS may ask for *',
    send: [headers(1, block(':method', 'OPTIONS', ...head.slice(2, 4), ':path', '*', ':authority', 'test'))],
    verdict: { status: 200 },
  },
  {
    section: '8.3.1',
    must: 'Host stands for :authority, and beside it where they say the same',
    send: [headers(1, bytes(without(':authority'), literal('host', 'test'))), headers(3, withField('host', 'test'))],
    verdict: { status: 200, on: 3 },
  },
];

checkServer(cases);

test('8.1.1: nothing malformed reaches the application', async () => {
  const peer = await dial();
  malformed.forEach(([, , one], i) => void peer.send(headers(2 * i + 1, one)));
  const last = 2 * malformed.length + 1;
  peer.send(headers(last, get));
  await peer.answers(last, 200);
  expect(seen.length).toBe(1);
});

test('8.1: a client that is answered early is asked for no more, without an error', async () => {
  const peer = await dial();
  peer.send(headers(1, bytes(post, literal('X', '1')), END_HEADERS), data(1, 'begun'));
  await peer.answers(1, 400);
  await until(() => peer.resetOf(1) !== undefined, 'the reset');
  expect(peer.hasEnded(1)).toBe(true);
  expect(peer.resetOf(1)).toBe(NO_ERROR);
});

test('8.2.3: crumbs of a cookie pass', async () => {
  const peer = await dial();
  peer.send(headers(1, bytes(get, literal('cookie', 'a=b'), literal('cookie', 'c=d'))));
  await peer.answers(1, 200);
  expect(seen[0]!.cookie).toBe('a=b; c=d');
});

test('8.5: CONNECT is not for clients of a mesh, with or without what it may not have', async () => {
  const peer = await dial();
  peer.send(headers(1, block(':method', 'CONNECT', ':authority', 'test:80')));
  peer.send(headers(3, block(':method', 'CONNECT', ...head.slice(2))));
  for (const stream of [1, 3]) {
    await until(() => peer.hasEnded(stream), 'the answer');
    expect(peer.statuses(stream)).toEqual([405]);
  }
  expect(seen).toEqual([]);
});
