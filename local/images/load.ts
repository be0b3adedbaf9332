/** Loads an archive into the store: all of its images, or none of them and no trace. */
import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Archive } from './archive.ts';
import { type FoundImage, findImages } from './contents.ts';
import { ImageFailure } from './image-error.ts';
import { normalizeName } from './reference.ts';
import { type ImageStore, layerFolder, type StoredImage, type StoredLayer } from './store.ts';
import { type Budget, imageBudget, unpackLayer } from './unpack.ts';

export interface Loaded {
  images: StoredImage[];
  /** What was left out of the images. */
  notes: string[];
}

/** @param descriptor open for reading, a pipe or a file
 *  @throws ImageFailure */
export async function loadArchive(
  store: ImageStore,
  descriptor: number,
  name: string | undefined,
  progress: (step: string) => void,
  budget: Budget = imageBudget(),
): Promise<Loaded> {
  const full = name === undefined ? undefined : normalizeName(name);
  if (name !== undefined && (full === undefined || full.includes('@')))
    throw new ImageFailure(
      'image-name-invalid',
      `"${name}" is no image name.`,
      'A name is like nginx, shop/web:1.0 or registry.example/shop/web:1.0.',
    );
  return store.locked(async () => {
    store.sweep();
    const { incoming } = store;
    try {
      mkdirSync(incoming, { mode: 0o700 });
      progress('Reading the archive');
      const archive = await Archive.spool(descriptor, join(incoming, 'parts'), budget);
      const found = findImages(archive, full);
      const work = new Unpacking(store, incoming, budget, progress);
      const images: StoredImage[] = [];
      for (const image of found) images.push(await work.image(image));
      // Nothing can fail from here on but the machine itself; what a crash leaves is swept by the next load.
      work.place();
      store.add(images);
      return { images: store.list().filter(({ id }) => images.some((one) => one.id === id)), notes: work.notes };
    } catch (error) {
      throw explained(error as NodeJS.ErrnoException);
    } finally {
      rmSync(incoming, { recursive: true, force: true });
    }
  });
}

function explained(error: NodeJS.ErrnoException): Error {
  if (error.code !== 'ENOSPC' && error.code !== 'EDQUOT') return error;
  return new ImageFailure(
    'disk-full',
    'The disk is full; nothing of the archive was kept.',
    'Make room, e.g. with `mesh image rm`, or set MESH_HOME to a folder on another disk before `mesh install`.',
  );
}

class Unpacking {
  readonly notes: string[] = [];
  readonly #store: ImageStore;
  readonly #incoming: string;
  readonly #budget: Budget;
  readonly #progress: (step: string) => void;
  /** Folder name → where it was unpacked, and its size. */
  readonly #fresh = new Map<string, { path: string; bytes: number }>();

  constructor(store: ImageStore, incoming: string, budget: Budget, progress: (step: string) => void) {
    this.#store = store;
    this.#incoming = incoming;
    this.#budget = budget;
    this.#progress = progress;
  }

  async image(found: FoundImage): Promise<StoredImage> {
    const ids = found.layers.map(({ diffId }) => diffId);
    const stored = this.#store.list().flatMap((image) => image.layers);
    const layers: StoredLayer[] = [];
    const below: string[] = [];
    for (const [at, layer] of found.layers.entries()) {
      const folder = layerFolder(ids.slice(0, at + 1));
      const known = stored.find((one) => one.folder === folder);
      if (!known && !this.#fresh.has(folder)) {
        this.#progress(`Unpacking layer ${at + 1} of ${found.layers.length} of ${found.names[0]}`);
        const path = join(this.#incoming, folder);
        mkdirSync(path);
        chmodSync(path, 0o755);
        const before = this.#budget.bytes;
        this.notes.push(...(await unpackLayer(layer, path, below, this.#budget)));
        this.#fresh.set(folder, { path, bytes: before - this.#budget.bytes });
      }
      const fresh = this.#fresh.get(folder);
      below.unshift(fresh?.path ?? join(this.#store.layers, folder));
      layers.push({ folder, bytes: fresh?.bytes ?? known!.bytes });
    }
    const { id, names, digests, config } = found;
    return { id, names, digests, layers, config, loaded: new Date().toISOString() };
  }

  place(): void {
    for (const [name, { path }] of this.#fresh) {
      if (!existsSync(join(this.#store.layers, name))) this.#store.place(path, name);
    }
  }
}
