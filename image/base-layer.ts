/** The base layer, kept in a cache: compressing Node takes the better part of a minute and its input rarely changes. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, type Layer, makeLayer } from './oci.ts';
import { type Entry, tar } from './tar.ts';

/** 19 saves another 2 % and takes twice as long. */
const level = 15;

export async function baseLayer(cache: string, entries: readonly Entry[]): Promise<Layer> {
  const comment = `Node, nft and their libraries: ${entries.length} files`;
  const diffId = digestOf(tar(entries));
  const file = join(
    cache,
    createHash('sha256').update(`${diffId} zstd ${level} ${process.versions.zstd}`).digest('hex'),
  );
  if (existsSync(file)) {
    const data = await readFile(file);
    return { digest: digestOf(data), diffId, data, comment };
  }
  const layer = makeLayer(entries, comment, level);
  // Only the newest is worth its room.
  await rm(cache, { recursive: true, force: true });
  await mkdir(cache, { recursive: true });
  await writeFile(`${file}.new`, layer.data);
  await rename(`${file}.new`, file);
  return layer;
}
