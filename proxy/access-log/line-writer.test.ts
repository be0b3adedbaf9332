import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { LineWriter } from './line-writer.ts';

test('lines come whole, in order and once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-lines-'));
  const path = join(folder, 'log');
  const fd = openSync(path, 'w');
  let dropped = 0;
  const writer = new LineWriter(fd, (lines) => {
    dropped += lines;
  });
  const lines = Array.from({ length: 10_000 }, (_, i) => `line ${i} ü\n`);
  for (const line of lines) writer.write(line);
  await writer.end(5_000);
  expect(readFileSync(path, 'utf8')).toBe(lines.join(''));
  expect(dropped).toBe(0);
  writer.write('one more\n');
  await vi.waitFor(() => expect(readFileSync(path, 'utf8')).toMatch(/one more\n$/));
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

test('a reader that stops costs lines, which are counted, and never waits on the event loop', async () => {
  // A pipe whose other end is a program that reads only when it is told.
  const reader = spawn('sh', ['-c', 'read go; exec cat <&3'], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] });
  const fd = (reader.stdio[3] as unknown as { _handle: { fd: number } })._handle.fd;
  let dropped = 0;
  const writer = new LineWriter(fd, (lines) => {
    dropped += lines;
  });
  const line = `${'x'.repeat(999)}\n`;
  let written = 0;
  for (; dropped < 100 && written < 5_000; written++) {
    writer.write(line);
    await new Promise(setImmediate);
  }
  expect(dropped).toBe(100);
  reader.stdin!.end('go\n');
  const read = text(reader.stdout!);
  await writer.end(5_000);
  reader.stdio[3]!.destroy();
  expect(await read).toBe(line.repeat(written - dropped));
});

test('a pipe that is full stops no event loop, as the stdout of a container may be', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-lines-'));
  const path = join(folder, 'pipe');
  spawnSync('mkfifo', [path]);
  // Both ends: a descriptor that blocks, and that no reader need be there for.
  const fd = openSync(path, 'r+');
  let dropped = 0;
  const writer = new LineWriter(fd, (lines) => {
    dropped += lines;
  });
  const line = `${'x'.repeat(999)}\n`;
  const written = 1_000;
  for (let i = 0; i < written; i++) {
    writer.write(line);
    await new Promise(setImmediate);
  }
  // The pipe takes 64 KiB, the write that stands still has at most as much as may wait.
  expect(dropped).toBeGreaterThan(300);
  const kept = line.length * (written - dropped);
  const reader = spawn('head', ['-c', String(kept), path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const read = text(reader.stdout);
  await writer.end(5_000);
  expect(await read).toBe(line.repeat(written - dropped));
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

test('a reader that is gone costs lines', async () => {
  const reader = spawn('true', { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  const fd = (reader.stdio[3] as unknown as { _handle: { fd: number } })._handle.fd;
  let dropped = 0;
  const writer = new LineWriter(fd, (lines) => {
    dropped += lines;
  });
  await once(reader, 'exit');
  writer.write('a\n');
  writer.write('b\n');
  await writer.end(5_000);
  expect(dropped).toBe(2);
  reader.stdio[3]!.destroy();
});
