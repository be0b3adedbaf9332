/**
 * An image as one tar archive that every loader takes: an OCI layout (containerd, kind, skopeo, podman) with the
 * manifest.json of `docker save` beside it (docker load). Specification: opencontainers/image-spec v1.1.
 */
import { createHash } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import type { Architecture } from './elf.ts';
import { type Entry, tar } from './tar.ts';

/** Fixed, so that the same input gives the same digest. */
const created = '1970-01-01T00:00:00Z';

export interface Layer {
  digest: string;
  /** Digest of the archive before compression. */
  diffId: string;
  data: Buffer;
  /** What it holds, for `history`. */
  comment: string;
}

export interface ImageOptions {
  /** `repository:tag`. */
  name: string;
  architecture: Architecture;
  layers: Layer[];
  user: string;
  entrypoint: string[];
  env: string[];
  /** `org.opencontainers.image.*`; labels of the image and annotations of its manifest. */
  labels: Record<string, string>;
}

export interface Image {
  /** Digest of the manifest. */
  digest: string;
  /** Bytes of all layers as they are pulled. */
  size: number;
  archive: Buffer;
}

export const digestOf = (data: Buffer | string): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

/** zstd: a fifth smaller than gzip -9 for Node's binary, and every runtime that knows native sidecars reads it. */
export function makeLayer(entries: readonly Entry[], comment: string, level: number): Layer {
  const archive = tar(entries);
  const data = zstdCompressSync(archive, {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  return { digest: digestOf(data), diffId: digestOf(archive), data, comment };
}

export function makeImage(options: ImageOptions): Image {
  const { name, architecture, layers, labels } = options;
  const config = JSON.stringify({
    created,
    architecture,
    os: 'linux',
    config: { User: options.user, Env: options.env, Entrypoint: options.entrypoint, WorkingDir: '/', Labels: labels },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((layer) => ({ created, created_by: 'npm run image', comment: layer.comment })),
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: Buffer.byteLength(config),
    },
    layers: layers.map((layer) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
      digest: layer.digest,
      size: layer.data.length,
    })),
    annotations: labels,
  });
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: digestOf(manifest),
        size: Buffer.byteLength(manifest),
        platform: { architecture, os: 'linux' },
        annotations: {
          // The first is what containerd names the image by, the second what the specification knows.
          'io.containerd.image.name': name,
          'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
        },
      },
    ],
  };
  const docker = [
    { Config: blobPath(digestOf(config)), RepoTags: [name], Layers: layers.map((layer) => blobPath(layer.digest)) },
  ];
  const file = (path: string, data: Buffer | string): Entry => ({
    path,
    type: 'file',
    mode: 0o644,
    data: Buffer.from(data as string),
  });
  return {
    digest: digestOf(manifest),
    size: layers.reduce((total, layer) => total + layer.data.length, 0),
    archive: tar([
      file('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' })),
      file('index.json', JSON.stringify(index)),
      file('manifest.json', JSON.stringify(docker)),
      ...[config, manifest].map((blob) => file(blobPath(digestOf(blob)), blob)),
      ...layers.map((layer) => file(blobPath(layer.digest), layer.data)),
    ]),
  };
}

const blobPath = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
