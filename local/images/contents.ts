/** The images an archive holds for this machine: their names, configurations and layers. */
import { arch } from 'node:os';
import type { Archive } from './archive.ts';
import { broken, ImageFailure } from './image-error.ts';
import { normalizeName } from './reference.ts';
import type { LayerSource } from './unpack.ts';

/** What an image's configuration says about its process. */
export interface ImageConfig {
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Env?: string[] | null;
  WorkingDir?: string;
  User?: string;
  StopSignal?: string;
}

export interface FoundImage {
  /** Digest of the configuration: what makes two images the same. */
  id: string;
  names: string[];
  /** By which a manifest may name it: of its manifest, and of the index that led there. */
  digests: string[];
  config: ImageConfig;
  layers: LayerSource[];
}

interface Descriptor {
  digest: string;
  mediaType?: string;
  platform?: { os?: string; architecture?: string };
  annotations?: Record<string, string>;
}

interface Configuration {
  os?: string;
  architecture?: string;
  config?: ImageConfig;
  rootfs?: { diff_ids?: string[] };
}

/** As images name it. */
const architecture = arch() === 'x64' ? 'amd64' : arch();

const fits = (platform: Descriptor['platform']): boolean =>
  (platform?.os ?? 'linux') === 'linux' && (platform?.architecture ?? architecture) === architecture;

/** @param name what to call the image, instead of what the archive says */
export function findImages(archive: Archive, name: string | undefined): FoundImage[] {
  const index = archive.find('index.json');
  const manifest = archive.find('manifest.json');
  if (!index && !manifest) {
    throw new ImageFailure(
      'image-archive-broken',
      'The archive is no image: it has neither index.json nor manifest.json.',
      'Pass an OCI image archive or what `docker save` writes; a tar of files only is no image.',
    );
  }
  const found = index
    ? fromLayout(archive, archive.json(index, 'index'))
    : fromDockerSave(archive, archive.json(manifest!, 'manifest'));
  if (found.length === 0) throw broken('The archive holds no image.');
  if (name !== undefined) {
    if (found.length > 1)
      throw new ImageFailure(
        'image-name-needed',
        `The archive holds ${found.length} images, which cannot all be called ${name}.`,
        'Load it without --name.',
      );
    found[0]!.names = [name];
  }
  for (const image of found) {
    if (image.names.length > 0) continue;
    throw new ImageFailure(
      'image-name-needed',
      `The archive does not say what its image ${image.id} is called.`,
      'Pass --name NAME, e.g. --name shop/web:1.0.',
    );
  }
  return merged(found);
}

/** One entry for each image, with all its names. */
function merged(found: FoundImage[]): FoundImage[] {
  const byId = new Map<string, FoundImage>();
  for (const image of found) {
    const known = byId.get(image.id);
    if (!known) byId.set(image.id, image);
    else {
      known.names = [...new Set([...known.names, ...image.names])];
      known.digests = [...new Set([...known.digests, ...image.digests])];
    }
  }
  return [...byId.values()];
}

/** A bare tag (`1.0`, `latest`) names no image: which one, only the user knows. */
function nameOf(annotations: Record<string, string> = {}): string | undefined {
  const full = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
  return full !== undefined && /[/:]/.test(full) ? normalizeName(full) : undefined;
}

function fromLayout(archive: Archive, index: { manifests?: Descriptor[] }): FoundImage[] {
  if (!Array.isArray(index.manifests)) throw broken('The index lists no manifests.');
  // Entries of one name are one image for several machines.
  const groups = Map.groupBy(index.manifests, (one) => nameOf(one.annotations) ?? '');
  return [...groups].map(([name, descriptors]) => {
    const names = name === '' ? [] : [name];
    const offered: string[] = [];
    for (const descriptor of descriptors) {
      const image = fromDescriptor(archive, descriptor, names, [], offered);
      if (image) return image;
    }
    throw new ImageFailure(
      'image-platform-missing',
      `The archive has no image for linux/${architecture}${offered.length > 0 ? `, only for ${[...new Set(offered)].join(', ')}` : ''}.`,
      `Save the image of this machine's platform, e.g. with \`--platform linux/${architecture}\`.`,
    );
  });
}

function fromDescriptor(
  archive: Archive,
  descriptor: Descriptor,
  names: string[],
  outer: string[],
  offered: string[],
): FoundImage | undefined {
  if (outer.length > 8) throw broken('Its indexes lead into each other without an end.');
  const { platform } = descriptor;
  if (!fits(platform)) {
    offered.push(`${platform?.os}/${platform?.architecture}`);
    return undefined;
  }
  const document = archive.json<{ manifests?: Descriptor[]; config?: Descriptor; layers?: Descriptor[] }>(
    archive.blob(descriptor.digest),
    'manifest',
  );
  const digests = [...outer, descriptor.digest];
  if (Array.isArray(document.manifests)) {
    for (const inner of document.manifests) {
      const image = fromDescriptor(archive, inner, names, digests, offered);
      if (image) return image;
    }
    return undefined;
  }
  if (!document.config || !Array.isArray(document.layers))
    throw broken(`Manifest ${descriptor.digest} has no configuration or no layers.`);
  const id = document.config.digest;
  const configuration = archive.json<Configuration>(archive.blob(id), 'configuration');
  const own = { os: configuration.os ?? 'linux', architecture: configuration.architecture ?? architecture };
  if (!fits(own)) {
    offered.push(`${own.os}/${own.architecture}`);
    return undefined;
  }
  const parts = document.layers.map((layer) => archive.blob(layer.digest));
  return image(archive, id, names, digests, configuration, parts);
}

function image(
  archive: Archive,
  id: string,
  names: string[],
  digests: string[],
  configuration: Configuration,
  parts: ReturnType<Archive['blob']>[],
): FoundImage {
  const ids = configuration.rootfs?.diff_ids ?? [];
  if (ids.length !== parts.length)
    throw broken(`Image ${id} has ${parts.length} layers, and its configuration names ${ids.length}.`);
  if (parts.length === 0) throw broken(`Image ${id} has no layers.`);
  if (parts.length > 120) throw broken(`Image ${id} has ${parts.length} layers; an overlay takes 120.`);
  const layers = parts.map((part, at) => archive.layer(part, ids[at]!));
  return { id, names, digests, config: configuration.config ?? {}, layers };
}

interface DockerEntry {
  Config?: string;
  RepoTags?: string[] | null;
  Layers?: string[];
}

function fromDockerSave(archive: Archive, manifest: DockerEntry[]): FoundImage[] {
  if (!Array.isArray(manifest)) throw broken('The manifest is no list of images.');
  return manifest.map(({ Config, RepoTags, Layers }) => {
    const part = (path: string | undefined): ReturnType<Archive['blob']> => {
      const found = path === undefined ? undefined : archive.find(path);
      if (!found) throw broken(`The manifest names ${path} but the archive does not hold it.`);
      return found;
    };
    const config = part(Config);
    // Its file is named by its digest, in each of the forms docker has had.
    if (!Config!.includes(config.digest.slice('sha256:'.length)))
      throw broken(`Part ${Config} holds other content than its digest says.`);
    const configuration = archive.json<Configuration>(config, 'configuration');
    const own = { os: configuration.os ?? 'linux', architecture: configuration.architecture ?? architecture };
    if (!fits(own)) {
      throw new ImageFailure(
        'image-platform-missing',
        `The archive has no image for linux/${architecture}, only for ${own.os}/${own.architecture}.`,
        'Save the image of this machine’s platform.',
      );
    }
    const names = (RepoTags ?? []).flatMap((tag) => normalizeName(tag) ?? []);
    return image(archive, config.digest, names, [], configuration, (Layers ?? []).map(part));
  });
}
