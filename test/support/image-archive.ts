/** Image archives made by the test itself, good ones and bad ones. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';

export interface TarEntry {
  name: string;
  type?: 'file' | 'folder' | 'symlink' | 'link' | 'device' | 'fifo';
  content?: string | Buffer;
  /** Target of a link. */
  target?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Extended header records, e.g. `SCHILY.xattr.user.note`. */
  pax?: Record<string, string>;
}

const kinds = { file: '0', link: '1', symlink: '2', device: '3', folder: '5', fifo: '6', pax: 'x' };

function header(entry: TarEntry, kind: keyof typeof kinds, size: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number): void => {
    block.write(value.toString(8).padStart(length - 1, '0'), at);
  };
  block.write(entry.name, 0, 100);
  octal(entry.mode ?? (kind === 'folder' ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.write('        ', 148);
  block.write(kinds[kind], 156);
  block.write(entry.target ?? '', 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

function paxRecords(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length;
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
    return `${length}${rest}`;
  });
  return Buffer.from(lines.join(''));
}

export function tar(entries: TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '');
    const own = [header(entry, entry.type ?? 'file', content.length), padded(content)];
    if (!entry.pax) return own;
    const records = paxRecords(entry.pax);
    return [header({ name: 'pax' }, 'pax', records.length), padded(records), ...own];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');

export interface TestImage {
  layers: Buffer[];
  config?: object;
  platform?: { os: string; architecture: string };
  compression?: 'gzip' | 'zstd';
  /** Annotations of its entry in the index, or its tags for docker save. */
  name?: string;
  /** Changes what is written after every digest was taken. */
  corrupt?: (part: Buffer, name: string) => Buffer | undefined;
}

export const here = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };

function configuration(image: TestImage): Buffer {
  const { os, architecture } = image.platform ?? here;
  const rootfs = { type: 'layers', diff_ids: image.layers.map((layer) => `sha256:${sha256(layer)}`) };
  return Buffer.from(JSON.stringify({ os, architecture, config: image.config ?? {}, rootfs }));
}

/** An OCI image layout as tar. Several images become entries of one nested index, as of an image for several platforms. */
export function ociArchive(images: TestImage[]): Buffer {
  const blobs = new Map<string, Buffer>();
  const put = (content: Buffer): { digest: string; size: number } => {
    blobs.set(sha256(content), content);
    return { digest: `sha256:${sha256(content)}`, size: content.length };
  };
  const manifests = images.map((image) => {
    const layers = image.layers.map((layer) => {
      if (image.compression === 'gzip')
        return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...put(gzipSync(layer)) };
      if (image.compression === 'zstd')
        return { mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd', ...put(zstdCompressSync(layer)) };
      return { mediaType: 'application/vnd.oci.image.layer.v1.tar', ...put(layer) };
    });
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', ...put(configuration(image)) };
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers }));
    return {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      ...put(manifest),
      platform: image.platform ?? here,
    };
  });
  const annotations =
    images[0]?.name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': images[0].name } };
  const top =
    manifests.length === 1
      ? { ...manifests[0], ...annotations }
      : {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          ...put(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }))),
          ...annotations,
        };
  const corrupt = images[0]?.corrupt ?? ((part) => part);
  const parts = [...blobs].flatMap(([hex, content]) => {
    const written = corrupt(content, `blobs/sha256/${hex}`);
    return written ? [{ name: `blobs/sha256/${hex}`, content: written }] : [];
  });
  // The index last: a pipe brings parts in any order.
  return tar([
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    ...parts,
    { name: 'index.json', content: JSON.stringify({ schemaVersion: 2, manifests: [top] }) },
  ]);
}

/** What old versions of `docker save` write: a folder per layer, equal layers as links. */
export function dockerArchive(image: TestImage & { tags: string[] }): Buffer {
  const config = configuration(image);
  const name = `${sha256(config)}.json`;
  const seen = new Map<string, string>();
  const layers = image.layers.map((layer, at): TarEntry => {
    const path = `layer${at}/layer.tar`;
    const before = seen.get(sha256(layer));
    seen.set(sha256(layer), path);
    return before ? { name: path, type: 'symlink', target: `../${before}` } : { name: path, content: layer };
  });
  const manifest = [{ Config: name, RepoTags: image.tags, Layers: layers.map((one) => one.name) }];
  const corrupt = image.corrupt ?? ((part) => part);
  const parts = [{ name, content: config }, ...layers].flatMap((part): TarEntry[] => {
    if (part.content === undefined) return [part as TarEntry];
    const content = corrupt(Buffer.from(part.content), part.name);
    return content ? [{ ...part, content }] : [];
  });
  return tar([...parts, { name: 'manifest.json', content: JSON.stringify(manifest) }]);
}

/** A root with busybox under the names of its programs that tests use. */
export function busyboxFiles(): TarEntry[] {
  const program = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (!program) throw new Error('no busybox on this machine; npm test installs it');
  const names = ['sh', 'ls', 'cat', 'id', 'httpd', 'sleep', 'echo', 'wget', 'pwd', 'test', 'true', 'mkdir', 'touch'];
  const links = names.map((name): TarEntry => ({ name: `bin/${name}`, type: 'symlink', target: 'busybox' }));
  return [
    { name: 'tmp', type: 'folder', mode: 0o1777 },
    { name: 'bin', type: 'folder' },
    { name: 'bin/busybox', content: readFileSync(program), mode: 0o755 },
    ...links,
  ];
}
