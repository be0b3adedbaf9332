import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { exampleRepository, imageRepository } from '../protocol/names.ts';
import { controlUid, proxyUid } from '../protocol/ports.ts';
import { readElf, strip } from './elf.ts';
import { digestOf, makeImage, makeLayer } from './oci.ts';
import { rootFiles, text } from './root-files.ts';
import { type Entry, tar, writeTree } from './tar.ts';

const folder = mkdtempSync(join(tmpdir(), 'mesh-image-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** An archive's members as the system's own tar lists them. */
function members(archive: Buffer): string[] {
  return execFileSync('tar', ['--numeric-owner', '--full-time', '--utc', '-tvf', '-'], {
    input: archive,
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .map((line) => line.replaceAll(/ +/g, ' '));
}

function member(archive: Buffer, path: string): Buffer {
  return execFileSync('tar', ['-xOf', '-', path], { input: archive, maxBuffer: 1 << 28 });
}

describe('a tar archive', () => {
  const entries: Entry[] = [
    { path: 'b/deep/file', type: 'file', mode: 0o755, data: Buffer.from('content') },
    { path: 'a', type: 'link', mode: 0o777, target: 'b/deep/file' },
    { path: 'tmp', type: 'folder', mode: 0o1777 },
  ];

  it('is read by tar: sorted, with the folders above its files, one owner and one time', () => {
    expect(members(tar(entries))).toEqual([
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 a -> b/deep/file',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:00 b/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:00 b/deep/',
      '-rwxr-xr-x 0/0 7 1970-01-01 00:00:00 b/deep/file',
      'drwxrwxrwt 0/0 0 1970-01-01 00:00:00 tmp/',
    ]);
    expect(member(tar(entries), 'b/deep/file').toString()).toBe('content');
  });

  it('is the same whatever order its entries come in', () => {
    expect(tar(entries.toReversed()).equals(tar(entries))).toBe(true);
  });

  it('refuses a path it cannot hold', () => {
    expect(() => tar([text('x'.repeat(101), '')])).toThrow(/too long/);
  });

  it('is written as files with the same modes', async () => {
    await writeTree(join(folder, 'tree'), entries);
    expect(readFileSync(join(folder, 'tree/a'), 'utf8')).toBe('content');
    expect(statSync(join(folder, 'tree/tmp')).mode & 0o7777).toBe(0o1777);
    expect(statSync(join(folder, 'tree/b/deep/file')).mode & 0o7777).toBe(0o755);
  });
});

describe('an ELF file', () => {
  const node = readFileSync(process.execPath);

  it('tells its machine, its loader and its libraries', () => {
    const elf = readElf(node);
    expect(elf.architecture).toBe(process.arch === 'arm64' ? 'arm64' : 'amd64');
    expect(elf.interpreter).toMatch(/^\/lib(64)?\/ld-linux-/);
    expect(elf.needed).toContain('libc.so.6');
    expect(elf.needed).toContain('libstdc++.so.6');
  });

  it('runs stripped as it did before', () => {
    const stripped = strip(node);
    expect(stripped.length).toBeLessThan(node.length);
    const file = join(folder, 'node');
    writeFileSync(file, stripped, { mode: 0o755 });
    expect(execFileSync(file, ['--version'], { encoding: 'utf8' }).trim()).toBe(process.version);
  });

  it('is refused where it is none, or of a machine no image is built for', () => {
    expect(() => readElf(Buffer.from('#!/bin/sh\necho no\n'.padEnd(64)))).toThrow('not an ELF file');
    const foreign = Buffer.from(node.subarray(0, 4096));
    foreign.writeUInt16LE(243, 18); // RISC-V
    expect(() => readElf(foreign)).toThrow(/machine 243/);
  });

  it('of another architecture is kept out of an image', async () => {
    const other = process.arch === 'arm64' ? 'amd64' : 'arm64';
    await expect(rootFiles(other, process.execPath, folder)).rejects.toThrow(`not for ${other}`);
  });

  it('whose library no package has is named', async () => {
    const own = process.arch === 'arm64' ? 'arm64' : 'amd64';
    await writeTree(folder, [{ path: 'usr/sbin/nft', type: 'file', mode: 0o755, data: node }]);
    await expect(rootFiles(own, process.execPath, folder)).rejects.toThrow(/library \S+ is in none of the packages/);
  });
});

describe('an image archive', () => {
  const make = (content: string) =>
    makeImage({
      name: 'mesh.dev/mesh:1.2.3',
      architecture: 'amd64',
      layers: [
        makeLayer([text('etc/passwd', 'root')], 'base', 3),
        makeLayer([text('opt/mesh/a.js', content)], 'code', 3),
      ],
      user: `${proxyUid}:${proxyUid}`,
      entrypoint: ['/opt/mesh/node'],
      env: ['PATH=/usr/sbin'],
      labels: { 'org.opencontainers.image.title': 'mesh' },
    });
  const image = make('one');
  const json = (path: string) => JSON.parse(member(image.archive, path).toString());

  it('is the same for the same input, and another for another', () => {
    expect(make('one').archive.equals(image.archive)).toBe(true);
    expect(make('two').digest).not.toBe(image.digest);
  });

  it('names every blob by what it holds', () => {
    const paths = members(image.archive).flatMap((line) => /blobs\/sha256\/[0-9a-f]{64}$/.exec(line)?.[0] ?? []);
    expect(paths).toHaveLength(4);
    for (const path of paths) expect(`blobs/${digestOf(member(image.archive, path)).replace(':', '/')}`).toBe(path);
  });

  it('leads from the index to layers, sizes and uncompressed digests that are right', () => {
    expect(json('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' });
    const [entry] = json('index.json').manifests;
    expect(entry.digest).toBe(image.digest);
    expect(entry.annotations['io.containerd.image.name']).toBe('mesh.dev/mesh:1.2.3');
    const blob = (digest: string) => member(image.archive, `blobs/${digest.replace(':', '/')}`);
    const manifest = JSON.parse(blob(entry.digest).toString());
    const config = JSON.parse(blob(manifest.config.digest).toString());
    expect(config.config.User).toBe('2102:2102');
    expect(manifest.layers).toHaveLength(2);
    manifest.layers.forEach((layer: { digest: string; size: number }, index: number) => {
      const data = blob(layer.digest);
      expect(data.length).toBe(layer.size);
      expect(digestOf(zstdDecompressSync(data))).toBe(config.rootfs.diff_ids[index]);
    });
  });

  it('names the same blobs for docker load', () => {
    const [docker] = json('manifest.json');
    const manifest = json(`blobs/${image.digest.replace(':', '/')}`);
    const path = (blob: { digest: string }) => `blobs/${blob.digest.replace(':', '/')}`;
    expect(docker).toEqual({
      Config: path(manifest.config),
      RepoTags: ['mesh.dev/mesh:1.2.3'],
      Layers: manifest.layers.map(path),
    });
  });
});

describe('what names the image elsewhere', () => {
  const read = (path: string) => readFileSync(join(import.meta.dirname, '..', path), 'utf8');

  it('is of this version in the example', () => {
    const images = [...read('examples/shop/shop.yaml').matchAll(/image: (\S+)/g)].map((match) => match[1]);
    expect(new Set(images)).toEqual(new Set([`${exampleRepository}:${packageJson.version}`]));
  });

  it('is of this version, and of the right user, in the Dockerfile', () => {
    const dockerfile = read('image/Dockerfile');
    expect(dockerfile).toContain(`-t ${imageRepository}:${packageJson.version} .`);
    expect(dockerfile).toContain(`image.version=${packageJson.version} `);
    expect(dockerfile).toContain(`USER ${proxyUid}:${proxyUid}`);
    expect(controlUid).not.toBe(proxyUid);
  });
});
