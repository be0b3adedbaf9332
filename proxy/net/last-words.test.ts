import { expect, test } from 'vitest';
import { hearLastWords } from './last-words.ts';
import { shareReads } from './shared-reads.ts';
import { connectionPair } from './test-connection.ts';

/** A connection to a peer that reads nothing, and what is told of it. */
async function connection() {
  const { socket, peer } = await connectionPair({ pauseOnConnect: true });
  const told: string[] = [];
  shareReads(socket);
  hearLastWords(socket);
  socket
    .on('data', (bytes: Buffer) => told.push(String(bytes)))
    .on('end', () => told.push('end'))
    .on('error', (error: NodeJS.ErrnoException) => told.push(`${error.syscall} failed`))
    .on('close', () => told.push('close'));
  return { socket, peer, told };
}

/** The peer speaks and resets the connection; a write finds that out first. */
function resetBeforeWrite({ socket, peer }: Awaited<ReturnType<typeof connection>>, word: string): void {
  if (word !== '') peer.write(word);
  // Its system has bytes that nobody has read.
  peer.destroy();
  socket.write('more');
}

/** The words wait for a reader that has paused, and so does the failure. */
async function paused() {
  const one = await connection();
  one.socket.pause();
  one.socket.write('unread');
  resetBeforeWrite(one, 'last words');
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(one.told).toEqual([]);
  return one;
}

test('what arrived before the reset is read, and the end is the failure of the write', async () => {
  const one = await connection();
  one.socket.write('unread');
  resetBeforeWrite(one, 'last words');
  await expect.poll(() => one.told).toEqual(['last words', 'write failed', 'close']);
});

test('where there is nothing to be read the failure is told as soon', async () => {
  const one = await connection();
  one.socket.write('unread');
  resetBeforeWrite(one, '');
  await expect.poll(() => one.told).toEqual(['write failed', 'close']);
});

test('a reader that pauses hears the words when it goes on, and the failure behind them', async () => {
  const one = await paused();
  one.socket.resume();
  await expect.poll(() => one.told).toEqual(['last words', 'write failed', 'close']);
});

test('an end in order that is about to be told is told, and the failure behind it', async () => {
  const { socket, told } = await connection();
  socket.push(null);
  socket.destroy(Object.assign(new Error('too late'), { syscall: 'write', code: 'EPIPE' }));
  await expect.poll(() => told).toEqual(['end', 'write failed', 'close']);
});

test('a write that fails on a connection that lives on ends it at once', async () => {
  const { socket, told } = await connection();
  socket.destroy(Object.assign(new Error('no memory'), { syscall: 'write', code: 'ENOBUFS' }));
  await expect.poll(() => told).toEqual(['write failed', 'close']);
});

test('who destroys the connection does not wait for its peer', async () => {
  const one = await paused();
  one.socket.destroy();
  await expect.poll(() => one.told).toEqual(['close']);
});
