/** The images of this machine's local mesh: unpacked layers, each once, and what images are made of them. */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from '../lock.ts';
import type { ProcessIdentity } from '../process.ts';
import { readRecord, replaceFile } from '../runtime/files.ts';
import type { ImageConfig } from './contents.ts';
import { ImageFailure } from './image-error.ts';
import { normalizeName, parseReference } from './reference.ts';

export interface StoredLayer {
  /** Below the store's `layers`. */
  folder: string;
  /** Unpacked. */
  bytes: number;
}

export interface StoredImage {
  id: string;
  /** Full names; none left where each went to a newer image while something still ran this one. */
  names: string[];
  digests: string[];
  /** The lowest first. */
  layers: StoredLayer[];
  config: ImageConfig;
  /** RFC 3339. */
  loaded: string;
}

/** Name of a layer's folder. Short, for a mount takes 4096 characters for all of them together. What lies below counts
 *  too: a folder that a layer only passes through has the owner and mode it has there. */
export function layerFolder(diffIds: string[]): string {
  return createHash('sha256').update(diffIds.join(' ')).digest('base64url').slice(0, 22);
}

export class ImageStore {
  readonly folder: string;
  readonly layers: string;
  readonly #index: string;
  readonly #lock: string;

  constructor(state: string) {
    this.folder = join(state, 'images');
    this.layers = join(this.folder, 'layers');
    this.#index = join(this.folder, 'index.json');
    this.#lock = join(this.folder, 'lock');
  }

  list(): StoredImage[] {
    if (!existsSync(this.#index)) return [];
    try {
      return (JSON.parse(readFileSync(this.#index, 'utf8')) as { images: StoredImage[] }).images;
    } catch (error) {
      throw new ImageFailure(
        'image-store-broken',
        `The list of images ${this.#index} cannot be read: ${(error as Error).message}.`,
        `Remove ${this.folder} and load the images again.`,
      );
    }
  }

  /** The image a container's `image` means; by name, by digest, or by its id. */
  find(text: string): StoredImage | undefined {
    const images = this.list();
    const byId = images.find(({ id }) => id === text);
    if (byId) return byId;
    const reference = parseReference(text);
    if (reference?.digest)
      return images.find(({ id, digests }) => id === reference.digest || digests.includes(reference.digest!));
    const name = normalizeName(text);
    return name === undefined ? undefined : images.find(({ names }) => names.includes(name));
  }

  /** @throws ImageFailure */
  missing(text: string): never {
    throw new ImageFailure('image-not-found', `No image ${text} is loaded.`, '`mesh image list` shows those that are.');
  }

  /** Adds images; a name they share with others is theirs from now on. */
  add(fresh: StoredImage[]): void {
    const taken = new Set(fresh.flatMap(({ names }) => names));
    const known = new Map(this.list().map((one) => [one.id, one]));
    const merged = fresh.map((image) => {
      const before = known.get(image.id);
      known.delete(image.id);
      if (!before) return image;
      const names = [...new Set([...before.names, ...image.names])];
      return { ...image, names, digests: [...new Set([...before.digests, ...image.digests])] };
    });
    const others = [...known.values()].map((one) => ({ ...one, names: one.names.filter((name) => !taken.has(name)) }));
    this.#write([...others, ...merged]);
  }

  /** Takes a name away; without another name the image goes, and the layers no other image has. */
  remove(text: string): { id: string; removed: boolean } {
    const image = this.find(text);
    if (!image)
      throw new ImageFailure(
        'image-not-found',
        `No image ${text} is loaded.`,
        '`mesh image list` shows those that are.',
      );
    const name = normalizeName(text);
    const names = text === image.id ? [] : image.names.filter((one) => one !== name);
    const rest = this.list().filter(({ id }) => id !== image.id);
    this.#write(names.length > 0 ? [...rest, { ...image, names }] : rest);
    this.sweep();
    return { id: image.id, removed: names.length === 0 };
  }

  #write(images: StoredImage[]): void {
    replaceFile(this.#index, `${JSON.stringify({ images }, undefined, 1)}\n`);
  }

  /** Removes what belongs to no image: of a load that did not end, of an image that went. */
  sweep(): void {
    const used = new Set(this.list().flatMap(({ layers }) => layers.map(({ folder }) => folder)));
    for (const name of existsSync(this.layers) ? readdirSync(this.layers) : [])
      if (!used.has(name)) rmSync(join(this.layers, name), { recursive: true, force: true });
    for (const name of readdirSync(this.folder))
      if (name.startsWith('incoming-')) rmSync(join(this.folder, name), { recursive: true, force: true });
  }

  /** Where this process unpacks what it loads. */
  get incoming(): string {
    return join(this.folder, `incoming-${process.pid}`);
  }

  /** Drops what this process was about to change. */
  abandon(): void {
    rmSync(this.incoming, { recursive: true, force: true });
    if (readRecord<ProcessIdentity>(this.#lock)?.pid === process.pid) rmSync(this.#lock, { force: true });
  }

  /** Moves unpacked layers to their place; an index that names them follows. */
  place(folder: string, name: string): void {
    renameSync(folder, join(this.layers, name));
  }

  /** One change at a time. */
  async locked<T>(work: () => Promise<T> | T): Promise<T> {
    mkdirSync(this.layers, { recursive: true });
    // Programs that set the user are files of this machine too: nobody else may reach them.
    chmodSync(this.folder, 0o700);
    const busy = (holder: number): Error =>
      new ImageFailure(
        'busy',
        `Another mesh command (process ${holder}) is loading or removing images.`,
        'Wait until it is done, then run the command again.',
      );
    return withLock(this.#lock, work, busy);
  }
}
