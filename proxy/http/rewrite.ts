/** A head as it goes on: without the lines that are meant for this hop, and with those that the proxy has to say. */
import type { HeadEdit } from './head-edit.ts';
import { eachLine } from './head-fields.ts';
import { sortPairs } from './head-parser.ts';

export const keepAliveLine = Buffer.from('Connection: keep-alive\r\n');
export const closeLine = Buffer.from('Connection: close\r\n');

/**
 * The bytes of a head and what follows up to `end`, less the dropped lines (pairs of start and end), with a line added
 * ahead of the empty one that ends the head at `headEnd`. The buffer itself where nothing changes.
 */
export function without(
  buffer: Buffer,
  end: number,
  dropped: readonly number[],
  line: Buffer | undefined,
  headEnd: number,
): Buffer {
  if (dropped.length === 0 && !line) return end === buffer.length ? buffer : buffer.subarray(0, end);
  let size = end + (line?.length ?? 0);
  for (let i = 0; i < dropped.length; i += 2) size -= dropped[i + 1]! - dropped[i]!;
  const rewritten = Buffer.allocUnsafe(size);
  let used = 0;
  let from = 0;
  for (let i = 0; i < dropped.length; i += 2) {
    used += buffer.copy(rewritten, used, from, dropped[i]!);
    from = dropped[i + 1]!;
  }
  if (line) {
    used += buffer.copy(rewritten, used, from, headEnd - 2);
    used += line.copy(rewritten, used);
    from = headEnd - 2;
  }
  buffer.copy(rewritten, used, from, end);
  return rewritten;
}

/** The same with an edit of the head, which ends at `headEnd`; `line` comes behind what the edit puts in. */
export function edited(
  buffer: Buffer,
  end: number,
  dropped: readonly number[],
  line: Buffer | undefined,
  headEnd: number,
  edit: HeadEdit,
): Buffer {
  if (edit.names.size === 0) return without(buffer, end, dropped, linesOf(edit, line), headEnd);
  const pairs = [...dropped];
  eachLine(buffer, headEnd, (colon, start, lineEnd) => {
    if (edit.names.has(buffer.toString('latin1', start, colon).toLowerCase())) pairs.push(start, lineEnd);
    return true;
  });
  if (pairs.length > dropped.length) sortPairs(pairs);
  return without(buffer, end, pairs, linesOf(edit, line), headEnd);
}

function linesOf({ fields }: HeadEdit, line: Buffer | undefined): Buffer | undefined {
  if (fields.length === 0) return line;
  let text = '';
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  const lines = Buffer.from(text, 'latin1');
  return line ? Buffer.concat([lines, line]) : lines;
}
