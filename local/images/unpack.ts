/** Unpacks the tar of one layer into a folder, streaming: no layer is ever in memory. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  createReadStream,
  lchownSync,
  lutimesSync,
  openSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { PassThrough, type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { broken, ImageFailure } from './image-error.ts';
import { LayerTree } from './layer-tree.ts';
import { largestId, setAttribute } from './system.ts';

/** What an archive may become on disk; more is taken for an attack by a few well-packed bytes. */
export interface Budget {
  bytes: number;
  entries: number;
}

export const imageBudget = (): Budget => ({ bytes: 64 * 2 ** 30, entries: 2_000_000 });

/** A decompressor for a file that begins with these bytes. */
export function decompressor(head: Buffer): Transform {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip();
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return createZstdDecompress();
  return new PassThrough();
}

/** Hashes and counts what passes. */
export class Digest extends Transform {
  readonly #hash = createHash('sha256');
  #seen: (bytes: number) => void;

  constructor(seen: (bytes: number) => void = () => {}) {
    super();
    this.#seen = seen;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: (error: Error | null, chunk?: Buffer) => void): void {
    this.#hash.update(chunk);
    try {
      this.#seen(chunk.length);
      done(null, chunk);
    } catch (error) {
      done(error as Error);
    }
  }

  get value(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

export interface LayerSource {
  file: string;
  /** First bytes of the file, which tell its compression. */
  head: Buffer;
  /** Digest of the tar inside, as the image's configuration names it. */
  diffId: string;
}

/** @returns notes on what was left out
 *  @throws ImageFailure; the folder then holds a part, which the caller removes */
export async function unpackLayer(
  source: LayerSource,
  folder: string,
  lower: string[],
  budget: Budget,
): Promise<string[]> {
  const digest = new Digest((bytes) => {
    budget.bytes -= bytes;
    if (budget.bytes < 0)
      throw new ImageFailure('image-too-large', 'The image is larger than 64 GiB.', 'Use a smaller image.');
  });
  const entries = extract({ filenameEncoding: 'latin1' } as object);
  const writer = new LayerWriter(new LayerTree(folder, lower), budget);
  const reading = (async () => {
    for await (const entry of entries) await writer.write(entry.header as Entry, entry as unknown as Readable);
  })();
  const streaming = pipeline(
    createReadStream(source.file),
    decompressor(source.head),
    digest,
    aligned,
    entries as unknown as NodeJS.WritableStream,
  );
  const [streamed, read] = await Promise.allSettled([streaming, reading]);
  // The reason lies where it went wrong first: an error of an entry ends the stream too.
  for (const one of [read, streamed])
    if (one.status === 'rejected') throw named(one.reason as NodeJS.ErrnoException, source.diffId);
  if (digest.value !== source.diffId) throw broken(`Layer ${source.diffId} holds other content than its digest says.`);
  return writer.notes;
}

/** Some writers leave out the padding behind the last file. What is cut short in earnest fails by its digest. */
async function* aligned(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const block = 512;
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield chunk;
  }
  if (size % block !== 0) yield Buffer.alloc(block - (size % block));
}

function named(error: NodeJS.ErrnoException, layer: string): Error {
  // The system's own errors (a full disk) keep their code; those of tar and zlib speak of the archive.
  if (error instanceof ImageFailure || (error.code && /^E[A-Z]+$/.test(error.code) && error.syscall)) return error;
  return broken(`Layer ${layer} cannot be read: ${error.message}.`);
}

/** An entry with its extended header, which the types leave out. */
type Entry = Header & { pax?: Record<string, string> };

/** Paths from the extended header are UTF-8; the others are bytes already. */
function pathOf(header: Entry, field: 'path' | 'linkpath', plain: string | null | undefined): string {
  const extended = header.pax?.[field];
  return extended === undefined ? (plain ?? '') : Buffer.from(extended).toString('latin1');
}

class LayerWriter {
  readonly notes: string[] = [];
  readonly #tree: LayerTree;
  readonly #budget: Budget;
  readonly #largest = largestId();

  constructor(tree: LayerTree, budget: Budget) {
    this.#tree = tree;
    this.#budget = budget;
  }

  async write(header: Entry, content: Readable): Promise<void> {
    if (--this.#budget.entries < 0)
      throw new ImageFailure('image-too-large', 'The image has more than 2,000,000 files.', 'Use a smaller image.');
    const name = pathOf(header, 'path', header.name);
    const parts = this.#tree.parts(name);
    const last = parts.at(-1) ?? '';
    if (last.startsWith('.wh.')) {
      this.#hide(parts, last.slice('.wh.'.length));
      content.resume();
      return;
    }
    const type = header.type === 'file' && name.endsWith('/') ? 'directory' : header.type;
    switch (type) {
      case 'directory':
        content.resume();
        return this.#finishEntry(this.#tree.folder(parts), header, 'folder');
      case 'file':
      case 'contiguous-file':
        return this.#finishEntry(await this.#copy(parts, content), header, 'file');
      case 'symlink':
        content.resume();
        return this.#finishEntry(
          this.#tree.symlink(parts, pathOf(header, 'linkpath', header.linkname)),
          header,
          'link',
        );
      case 'link':
        content.resume();
        return this.#tree.hardLink(parts, this.#tree.parts(pathOf(header, 'linkpath', header.linkname)));
      case 'fifo':
        content.resume();
        return this.#finishEntry(this.#tree.fifo(parts, 0o600), header, 'file');
      case 'character-device':
      case 'block-device':
        // Containers get the devices they may have from the runtime.
        content.resume();
        return;
      default:
        throw broken(`The archive has an entry "${name}" of a kind that no image has.`);
    }
  }

  #hide(parts: string[], hidden: string): void {
    const folder = parts.slice(0, -1);
    if (hidden === '.wh..opq') this.#tree.opaque(folder);
    // Other marks of aufs say nothing about files.
    else if (!hidden.startsWith('.wh.')) this.#tree.whiteout([...folder, ...this.#nameOf(hidden)]);
  }

  #nameOf(hidden: string): string[] {
    const parts = this.#tree.parts(hidden);
    if (parts.length !== 1) throw broken(`The archive deletes "${hidden}", which is no file.`);
    return parts;
  }

  async #copy(parts: string[], content: Readable): Promise<Buffer> {
    const path = this.#tree.file(parts);
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    const file = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
    try {
      for await (const chunk of content) for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at);
    } finally {
      closeSync(file);
    }
    return path;
  }

  #finishEntry(path: Buffer, header: Entry, kind: 'folder' | 'file' | 'link'): void {
    const id = (extended: string | undefined, plain: number | undefined): number => {
      const wanted = extended === undefined ? (plain ?? 0) : Number(extended);
      // An id this user has not been granted becomes nobody's.
      return wanted >= 0 && wanted <= this.#largest ? wanted : Math.min(65_534, this.#largest);
    };
    lchownSync(path, id(header.pax?.uid, header.uid), id(header.pax?.gid, header.gid));
    const time = header.pax?.mtime ? new Date(Number(header.pax.mtime) * 1_000) : (header.mtime ?? new Date(0));
    if (kind === 'link') return lutimesSync(path, time, time);
    chmodSync(path, (header.mode ?? 0o644) & 0o7777);
    this.#setAttributes(path, header);
    // A folder's time changes with every file that is put into it.
    if (kind === 'file') utimesSync(path, time, time);
  }

  /** Only what a program may see or need: others, the overlay's own above all, would speak to the kernel. */
  #setAttributes(path: Buffer, header: Entry): void {
    for (const [key, value] of Object.entries(header.pax ?? {})) {
      const name = /^SCHILY\.xattr\.(.+)$/.exec(key)?.[1];
      if (!name || !(name === 'security.capability' || (name.startsWith('user.') && !name.startsWith('user.overlay.'))))
        continue;
      if (value.includes('\uFFFD')) this.notes.push(`${header.name}: attribute ${name} is not text and was left out`);
      else setAttribute(path, name, Buffer.from(value));
    }
  }
}
