/** What an archive holds: an OCI image layout, or what `docker save` writes. Both are spooled to disk first, for the parts
 *  come in any order and the archive may be a pipe. */
import { closeSync, fstatSync, mkdirSync, openSync, read, readFileSync, readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { join, posix } from 'node:path';
import { pipeline as pipe, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { extract } from 'tar-stream';
import { broken, ImageFailure, unsafe } from './image-error.ts';
import { type Budget, Digest, decompressor, type LayerSource } from './unpack.ts';

/** A part of the archive, spooled. */
interface Part {
  file: string;
  digest: string;
  size: number;
}

const headBytes = 512;
/** Index, manifests and configurations are read into memory. */
const largestDocument = 8 * 2 ** 20;

export class Archive {
  readonly #parts = new Map<string, Part>();
  readonly #links = new Map<string, string>();

  /** @param folder for the parts; the caller removes it */
  static async spool(descriptor: number, folder: string, budget: Budget): Promise<Archive> {
    mkdirSync(folder, { recursive: true });
    const archive = new Archive();
    const entries = extract();
    const reading = (async () => {
      for await (const entry of entries) await archive.#add(entry.header, entry as unknown as Readable, folder, budget);
    })();
    const [streamed, read] = await Promise.allSettled([
      pipeline(chunksOf(descriptor), plain, entries as unknown as NodeJS.WritableStream),
      reading,
    ]);
    for (const one of [read, streamed]) {
      if (one.status === 'fulfilled') continue;
      const error = one.reason as NodeJS.ErrnoException;
      if (error instanceof ImageFailure || error.syscall) throw error;
      throw broken(`The archive cannot be read: ${error.message}.`);
    }
    if (archive.#parts.size === 0) throw broken('The archive is empty.');
    return archive;
  }

  async #add(
    header: { name: string; type?: string | null; linkname?: string | null },
    content: Readable,
    folder: string,
    budget: Budget,
  ): Promise<void> {
    if (--budget.entries < 0)
      throw new ImageFailure('image-too-large', 'The archive has too many parts.', 'Use a smaller image.');
    const name = clean(header.name);
    if (header.type === 'symlink' || header.type === 'link') {
      // Old versions of docker save link equal layers to each other.
      const base = header.type === 'symlink' ? posix.dirname(name) : '.';
      this.#links.set(name, clean(posix.join(base, header.linkname ?? '')));
    } else if (header.type === 'file' || header.type === 'contiguous-file') {
      const file = join(folder, String(this.#parts.size));
      const digest = new Digest((bytes) => {
        budget.bytes -= bytes;
        if (budget.bytes < 0)
          throw new ImageFailure('image-too-large', 'The archive is larger than 64 GiB.', 'Use a smaller image.');
      });
      const size = await copy(content, digest, file);
      const part = { file, digest: digest.value, size };
      const named = /^blobs\/sha256\/(.+)$/.exec(name)?.[1];
      if (named !== undefined && part.digest !== `sha256:${named}`)
        throw broken(`Part ${name} holds other content than its digest says.`);
      this.#parts.set(name, part);
    }
    content.resume();
  }

  find(name: string): Part | undefined {
    let at = clean(name);
    for (let links = 0; links < 10; links++) {
      const next = this.#links.get(at);
      if (next === undefined) break;
      at = next;
    }
    return this.#parts.get(at);
  }

  /** A part by its digest, which is verified. */
  blob(digest: string): Part {
    const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? [];
    if (!hex) throw broken(`"${digest}" is no SHA-256 digest.`);
    const part = this.find(`blobs/sha256/${hex}`);
    if (!part) throw broken(`The archive names ${digest} but does not hold it.`);
    return part;
  }

  /** @throws where it is no JSON object or array */
  json<T>(part: Part, what: string): T {
    if (part.size > largestDocument) throw broken(`The ${what} is larger than 8 MiB.`);
    try {
      const value: unknown = JSON.parse(readFileSync(part.file, 'utf8'));
      if (typeof value === 'object' && value !== null) return value as T;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw broken(`The ${what} is not JSON.`);
  }

  layer(part: Part, diffId: string): LayerSource {
    const head = Buffer.alloc(headBytes);
    const file = openSync(part.file, 'r');
    try {
      return { file: part.file, head: head.subarray(0, readSync(file, head)), diffId };
    } finally {
      closeSync(file);
    }
  }
}

/** What a descriptor gives; it stays open where it is a file. A pipe may have been made non-blocking by the command line,
 *  with which it is shared: only the event loop reads it without being told to come again. */
async function* chunksOf(descriptor: number): AsyncGenerator<Buffer> {
  const kind = fstatSync(descriptor);
  if (kind.isFIFO() || kind.isSocket()) return yield* new Socket({ fd: descriptor, readable: true, writable: false });
  const size = 256 * 1024;
  for (;;) {
    const { bytesRead, buffer } = await promisify(read)(descriptor, Buffer.allocUnsafe(size), 0, size, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The tar itself, where the whole archive is compressed. */
async function* plain(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks = input[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done) throw broken('The archive is empty.');
  const all = (async function* (): AsyncGenerator<Buffer> {
    yield first.value;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  })();
  // The callback has nothing to do: a failure ends the iteration too.
  yield* pipe(Readable.from(all, { objectMode: false }), decompressor(first.value), () => {});
}

function clean(name: string): string {
  const path = posix.normalize(name.replace(/^\/+/, ''));
  if (path === '..' || path.startsWith('../')) throw unsafe(`The archive has a part "${name}", which leads out of it.`);
  return path;
}

async function copy(content: Readable, digest: Digest, path: string): Promise<number> {
  const file = openSync(path, 'wx', 0o600);
  let size = 0;
  try {
    await pipeline(content, digest, async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) {
        for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at);
        size += chunk.length;
      }
    });
  } finally {
    closeSync(file);
  }
  return size;
}
