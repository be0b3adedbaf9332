/** Reads a container's log file, as kubectl logs does. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';

export interface LogOptions {
  follow: boolean;
  tailLines?: number;
  timestamps?: boolean;
  /** Where to begin, where not all of the file is wanted. */
  from?: number;
  limitBytes?: number;
  /** Whether more may still come. */
  running: () => boolean;
}

const chunkSize = 64 * 1024;

/** Where the last `lines` lines of a file begin. */
async function tailOffset(file: string, lines: number): Promise<number> {
  const handle = await open(file);
  try {
    let position = (await handle.stat()).size;
    let left = lines + 1;
    if (lines === 0) return position;
    const chunk = Buffer.alloc(chunkSize);
    const size = position;
    while (position > 0) {
      const from = Math.max(0, position - chunkSize);
      const { bytesRead } = await handle.read(chunk, 0, position - from, from);
      for (let at = bytesRead - 1; at >= 0; at--) {
        // The newline that ends the file ends its last line, it does not begin another.
        if (chunk[at] !== 10 || from + at === size - 1) continue;
        if (--left === 1) return from + at + 1;
      }
      position = from;
    }
    return 0;
  } finally {
    await handle.close();
  }
}

async function* read(file: string, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer> {
  const older = `${file}.1`;
  if (options.tailLines === undefined && options.from === undefined && existsSync(older))
    for await (const chunk of createReadStream(older)) yield chunk;
  const tail = options.tailLines === undefined ? 0 : await tailOffset(file, options.tailLines);
  let offset = Math.max(tail, options.from ?? 0);
  for (;;) {
    // Asked before reading: what is written between the two is read in this round.
    const more = options.follow && options.running() && !signal.aborted;
    const size = existsSync(file) ? statSync(file).size : 0;
    if (size < offset) offset = 0;
    if (size > offset) {
      for await (const chunk of createReadStream(file, { start: offset, end: size - 1 })) {
        offset += (chunk as Buffer).length;
        yield chunk;
      }
    } else if (more) await wait(100, undefined, { signal }).catch(() => {});
    else return;
  }
}

/** Log lines carry no time of their own: programs write straight into the file, so that they need no helper. With
 *  `timestamps` each line gets the time it was last written to. */
export function streamLog(file: string, options: LogOptions, signal: AbortSignal): NodeJS.ReadableStream {
  const chunks = limited(read(file, options, signal), options.limitBytes);
  return Readable.from(options.timestamps ? stamped(chunks, file) : chunks, { objectMode: false });
}

async function* limited(chunks: AsyncGenerator<Buffer>, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
  let left = limit;
  for await (const chunk of chunks) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

async function* stamped(chunks: AsyncGenerator<Buffer>, file: string): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    const time = statSync(file).mtime.toISOString();
    for (const line of lines) yield `${time} ${line}\n`;
  }
  if (rest) yield rest;
}
