/** Archives of images, unpacked for real: owners, links and marks of deletion need root. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ImageFailure } from '../../local/images/image-error.ts';
import { loadArchive } from '../../local/images/load.ts';
import { ImageStore } from '../../local/images/store.ts';
import { unable } from '../support/ground.ts';
import { dockerArchive, here, ociArchive, type TarEntry, type TestImage, tar } from '../support/image-archive.ts';

describe.skipIf(unable)('the image store', () => {
  let home: string;
  let store: ImageStore;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'mesh-images-'));
    mkdirSync(join(home, 'state'));
    store = new ImageStore(join(home, 'state'));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  async function load(archive: Buffer, name?: string, into = store) {
    const file = join(home, 'archive.tar');
    writeFileSync(file, archive);
    const descriptor = openSync(file, 'r');
    try {
      return await loadArchive(into, descriptor, name, () => {});
    } finally {
      closeSync(descriptor);
    }
  }

  async function refusal(archive: Buffer, name?: string, into = store): Promise<ImageFailure> {
    return load(archive, name, into).then(
      () => {
        throw new Error('it was loaded');
      },
      (error) => error,
    );
  }

  const base: TarEntry[] = [
    { name: './', type: 'folder' },
    { name: 'etc/', type: 'folder' },
    { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\n' },
    { name: 'tmp', type: 'folder', mode: 0o1777 },
  ];
  const image = (entries: TarEntry[], more: Partial<TestImage> = {}): Buffer =>
    ociArchive([{ layers: [tar(entries)], name: 'shop/web:1', ...more }]);
  const layers = (): string[] =>
    store.list().flatMap((one) => one.layers.map(({ folder }) => join(store.layers, folder)));
  const leftovers = (): string[] =>
    [...readdirSync(store.folder), ...readdirSync(store.layers)].filter(
      (one) => !['layers', 'index.json'].includes(one),
    );

  /** As a container would see it. */
  function merged<T>(look: (root: string) => T): T {
    const root = join(home, 'root');
    for (const one of ['root', 'upper', 'work']) mkdirSync(join(home, one), { recursive: true });
    const lower = layers().reverse().join(':');
    execFileSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${lower},upperdir=${home}/upper,workdir=${home}/work`,
      root,
    ]);
    try {
      return look(root);
    } finally {
      execFileSync('umount', [root]);
    }
  }

  it.each(['gzip', 'zstd', undefined] as const)('unpacks layers compressed with %s', async (compression) => {
    await load(image(base, compression ? { compression } : {}));
    expect(readFileSync(join(layers()[0]!, 'etc/passwd'), 'utf8')).toContain('root:x');
    expect(store.find('shop/web:1')?.names).toEqual(['docker.io/shop/web:1']);
  });

  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('reads an archive that is itself compressed with %s', async (_, compress) => {
    await load(Buffer.from(compress(image(base))));
    expect(store.list()).toHaveLength(1);
  });

  it('keeps owners, modes, links, times and attributes', async () => {
    await load(
      image([
        ...base,
        { name: 'bin/su', content: 'x', mode: 0o4755, uid: 0, gid: 42 },
        { name: 'data', type: 'folder', mode: 0o2770, uid: 1500, gid: 1600 },
        {
          name: 'data/file',
          content: 'x',
          mode: 0o600,
          uid: 1500,
          gid: 1600,
          pax: { 'SCHILY.xattr.user.note': 'kept' },
        },
        { name: 'data/second', type: 'link', target: 'data/file' },
        { name: 'data/link', type: 'symlink', target: '/etc/passwd', uid: 1500 },
        { name: 'data/pipe', type: 'fifo' },
        { name: 'dev/null', type: 'device' },
      ]),
    );
    const [root] = layers() as [string];
    const at = (path: string) => lstatSync(join(root, path));
    expect(at('bin/su')).toMatchObject({ uid: 0, gid: 42 });
    expect(at('bin/su').mode & 0o7777).toBe(0o4755);
    expect(at('data').mode & 0o7777).toBe(0o2770);
    expect(at('data/file')).toMatchObject({ uid: 1500, gid: 1600, nlink: 2, mtimeMs: 1_700_000_000_000 });
    expect(at('data/second').ino).toBe(at('data/file').ino);
    expect(readlinkSync(join(root, 'data/link'))).toBe('/etc/passwd');
    expect(at('data/link').uid).toBe(1500);
    expect(at('data/pipe').isFIFO()).toBe(true);
    expect(at('tmp').mode & 0o7777).toBe(0o1777);
    expect(existsSync(join(root, 'dev/null'))).toBe(false);
    const attributes = execFileSync('python3', [
      '-c',
      'import os,sys; print(os.getxattr(sys.argv[1], "user.note"))',
      join(root, 'data/file'),
    ]);
    expect(String(attributes)).toContain('kept');
  });

  it('takes a layer whose writer left out the padding behind the last file', async () => {
    const whole = tar([...base, { name: 'last', content: 'x'.repeat(700) }]);
    await load(ociArchive([{ layers: [whole.subarray(0, whole.length - 1_024 - 300)], name: 'shop/web:1' }]));
    expect(readFileSync(join(layers()[0]!, 'last'), 'utf8')).toBe('x'.repeat(700));
  });

  it('drops attributes that would speak to the kernel', async () => {
    const pax = { 'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.user.overlay.opaque': 'y' };
    await load(image([...base, { name: 'x', type: 'folder', pax }]));
    const listed = execFileSync('python3', [
      '-c',
      'import os,sys; print(os.listxattr(sys.argv[1]))',
      join(layers()[0]!, 'x'),
    ]);
    expect(String(listed).trim()).toBe('[]');
  });

  it('hides what upper layers delete, and what they make anew in folders they empty', async () => {
    const lower = tar([
      ...base,
      { name: 'a', content: 'a' },
      { name: 'keep', content: 'k' },
      { name: 'dir/one', content: '1' },
      { name: 'gone/x', content: 'x' },
      { name: 'again/old', content: 'o' },
    ]);
    const upper = tar([
      { name: '.wh.a' },
      { name: 'dir/.wh..wh..opq' },
      { name: 'dir/two', content: '2' },
      { name: '.wh.gone' },
      { name: '.wh.again' },
      { name: 'again/new', content: 'n' },
      { name: 'tmp/file', content: 't' },
    ]);
    await load(ociArchive([{ layers: [lower, upper], name: 'shop/web:1' }]));
    merged((root) => {
      expect(readdirSync(root).sort()).toEqual(['again', 'dir', 'etc', 'keep', 'tmp']);
      expect(readdirSync(join(root, 'dir'))).toEqual(['two']);
      expect(readdirSync(join(root, 'again'))).toEqual(['new']);
      // The upper layer only passes through it.
      expect(statSync(join(root, 'tmp')).mode & 0o7777).toBe(0o1777);
    });
  });

  it('reads what docker save writes, equal layers as links among it', async () => {
    const layer = tar(base);
    const other = tar([{ name: 'b', content: 'b' }]);
    await load(dockerArchive({ layers: [layer, other, layer], tags: ['web:2', 'registry.example:5000/shop/web:2'] }));
    expect(store.find('web:2')?.id).toBe(store.find('registry.example:5000/shop/web:2')?.id);
    expect(layers()).toHaveLength(3);
  });

  it('takes this machine’s image of several, and names those there are where it is missing', async () => {
    const foreign = { os: 'linux', architecture: 's390x' };
    const other: TestImage = { layers: [tar([{ name: 'other', content: '' }])], platform: foreign, name: 'shop/web:1' };
    await load(ociArchive([other, { layers: [tar(base)], platform: here }]));
    expect(existsSync(join(layers()[0]!, 'etc/passwd'))).toBe(true);
    expect(store.list()[0]?.digests).toHaveLength(2);
    const failure = await refusal(ociArchive([{ ...other, name: 'shop/other:1' }]));
    expect(failure).toMatchObject({ code: 'image-platform-missing', message: expect.stringContaining('linux/s390x') });
  });

  it('finds an image by digest and by id', async () => {
    await load(image(base));
    const [found] = store.list();
    expect(store.find(`anything/else@${found!.digests[0]}`)?.id).toBe(found?.id);
    expect(store.find(found!.id)?.id).toBe(found?.id);
    expect(store.find(`shop/web@sha256:${'0'.repeat(64)}`)).toBeUndefined();
  });

  it('asks for a name where the archive has none, or only a tag', async () => {
    for (const name of [undefined, 'latest']) {
      const archive = ociArchive([{ layers: [tar(base)], ...(name ? { name } : {}) }]);
      expect((await refusal(archive)).code).toBe('image-name-needed');
      await load(archive, 'mine');
      expect(store.find('mine:latest')).toBeDefined();
    }
    expect((await refusal(image(base), 'NOT a name')).code).toBe('image-name-invalid');
  });

  it('keeps a layer once, as long as any image has it', async () => {
    const [shared, one, two] = [tar(base), tar([{ name: '1', content: '1' }]), tar([{ name: '2', content: '2' }])];
    await load(ociArchive([{ layers: [shared, one], name: 'a:1' }]));
    await load(ociArchive([{ layers: [shared, two], name: 'b:1' }]));
    expect(readdirSync(store.layers)).toHaveLength(3);
    store.remove('a:1');
    expect(readdirSync(store.layers)).toHaveLength(2);
    expect(existsSync(join(layers()[0]!, 'etc/passwd'))).toBe(true);
    store.remove('b:1');
    expect(readdirSync(store.layers)).toEqual([]);
    expect(() => store.remove('b:1')).toThrow('No image b:1');
  });

  it('gives a name to the image that was loaded last, and keeps the other under its id', async () => {
    await load(image(base));
    const before = store.find('shop/web:1')!.id;
    await load(image([...base, { name: 'new', content: 'n' }]));
    expect(store.find('shop/web:1')?.id).not.toBe(before);
    expect(store.find(before)?.names).toEqual([]);
    store.remove(before);
    expect(store.list()).toHaveLength(1);
  });

  const secret = 'nobody may change this';
  it.each<[string, TarEntry[]]>([
    ['a name with ..', [{ name: '../outside', content: 'x' }]],
    ['a name with .. in the middle', [{ name: 'etc/../../outside', content: 'x' }]],
    [
      'a file through a link',
      [
        { name: 'way', type: 'symlink', target: 'HOME' },
        { name: 'way/outside', content: 'x' },
      ],
    ],
    [
      'a file through a relative link',
      [
        { name: 'way', type: 'symlink', target: '../../../..' },
        { name: 'way/outside', content: 'x' },
      ],
    ],
    [
      'a folder through a link',
      [
        { name: 'way', type: 'symlink', target: 'HOME' },
        { name: 'way/folder', type: 'folder' },
      ],
    ],
    [
      'a hard link to a file outside',
      [
        { name: 'way', type: 'symlink', target: 'HOME' },
        { name: 'got', type: 'link', target: 'way/secret' },
      ],
    ],
    ['a hard link with ..', [{ name: 'got', type: 'link', target: '../../../../secret' }]],
    ['a deletion through a link', [{ name: 'way', type: 'symlink', target: 'HOME' }, { name: 'way/.wh.secret' }]],
    [
      'an emptied folder through a link',
      [{ name: 'way', type: 'symlink', target: 'HOME' }, { name: 'way/sub/.wh..wh..opq' }],
    ],
    [
      'a root that is a link',
      [
        { name: './', type: 'symlink', target: 'HOME' },
        { name: 'outside', content: 'x' },
      ],
    ],
  ])('refuses %s and keeps nothing', async (_, entries) => {
    writeFileSync(join(home, 'secret'), secret);
    const real = entries.map((one) => ({
      ...one,
      ...(one.target ? { target: one.target.replace('HOME', home) } : {}),
    }));
    const failure = await refusal(image([...base, ...real]));
    expect(failure.code).toBe('image-archive-unsafe');
    expect(readFileSync(join(home, 'secret'), 'utf8')).toBe(secret);
    expect(lstatSync(join(home, 'secret')).nlink).toBe(1);
    expect(readdirSync(home).sort()).toEqual(['archive.tar', 'secret', 'state']);
    expect(leftovers()).toEqual([]);
    expect(store.list()).toEqual([]);
  });

  it('writes to a link’s own place where a later entry replaces it', async () => {
    writeFileSync(join(home, 'secret'), secret);
    await load(
      image([
        ...base,
        { name: 'way', type: 'symlink', target: join(home, 'secret') },
        { name: 'way', content: 'mine' },
      ]),
    );
    expect(readFileSync(join(home, 'secret'), 'utf8')).toBe(secret);
    expect(readFileSync(join(layers()[0]!, 'way'), 'utf8')).toBe('mine');
  });

  it('takes an absolute name as one of the image', async () => {
    await load(image([...base, { name: '/etc/mesh-test-absolute', content: 'x' }]));
    expect(existsSync(join(layers()[0]!, 'etc/mesh-test-absolute'))).toBe(true);
    expect(existsSync('/etc/mesh-test-absolute')).toBe(false);
  });

  const flipped = (part: Buffer): Buffer => {
    const copy = Buffer.from(part);
    copy[600 % copy.length] = copy[600 % copy.length]! ^ 1;
    return copy;
  };
  it.each<[string, () => Buffer]>([
    ['no tar', () => Buffer.from('this is no archive at all'.repeat(100))],
    ['empty', () => Buffer.alloc(0)],
    ['a tar of files only', () => tar(base)],
    ['cut short', () => image(base).subarray(0, 2_000)],
    ['cut short and compressed', () => gzipSync(image(base)).subarray(0, 300)],
    ['a blob that was changed', () => image(base, { corrupt: (part) => (part.length > 2_000 ? flipped(part) : part) })],
    ['a blob that is missing', () => image(base, { corrupt: (part) => (part.length > 2_000 ? undefined : part) })],
    [
      'a compressed layer that was changed',
      () => image(base, { compression: 'gzip', corrupt: (part) => (part[0] === 0x1f ? flipped(part) : part) }),
    ],
    [
      'a layer of docker save that was changed',
      () =>
        dockerArchive({
          layers: [tar(base)],
          tags: ['web:1'],
          corrupt: (part, name) => (name.endsWith('layer.tar') ? flipped(part) : part),
        }),
    ],
    [
      'a configuration of docker save that was changed',
      () =>
        dockerArchive({
          layers: [tar(base)],
          tags: ['web:1'],
          corrupt: (part, name) => (name.endsWith('.json') ? Buffer.from(`${part} `) : part),
        }),
    ],
    ['a layer that is no tar', () => ociArchive([{ layers: [Buffer.from('no tar'.repeat(400))], name: 'web:1' }])],
    ['an index that is no JSON', () => tar([{ name: 'index.json', content: '{' }])],
    ['a manifest that is no list', () => tar([{ name: 'manifest.json', content: '{}' }])],
    ['an index without manifests', () => tar([{ name: 'index.json', content: '{"manifests":7}' }])],
    ['an index of nothing', () => tar([{ name: 'index.json', content: '{"manifests":[]}' }])],
  ])('refuses an archive that is %s, and keeps nothing', async (_, archive) => {
    const failure = await refusal(archive());
    expect(failure.code, failure.message).toBe('image-archive-broken');
    expect(leftovers()).toEqual([]);
    expect(store.list()).toEqual([]);
  });

  it('keeps what was loaded before where a later archive is broken', async () => {
    await load(image(base));
    const second = ociArchive([{ layers: [tar(base), tar([{ name: '../x', content: 'x' }])], name: 'shop/web:1' }]);
    expect((await refusal(second)).code).toBe('image-archive-unsafe');
    expect(store.find('shop/web:1')?.layers).toHaveLength(1);
    expect(existsSync(join(layers()[0]!, 'etc/passwd'))).toBe(true);
    expect(leftovers().length).toBe(1);
  });

  it('says that the disk is full, and keeps nothing', async () => {
    const small = join(home, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', small]);
    try {
      const other = new ImageStore(small);
      const content = Buffer.alloc(2 * 2 ** 20, 'x');
      const failure = await refusal(image([...base, { name: 'big', content }]), undefined, other);
      expect(failure.code).toBe('disk-full');
      expect(readdirSync(other.layers)).toEqual([]);
      expect(readdirSync(other.folder)).toEqual(['layers']);
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('stops a small archive that unpacks to more than there may be', async () => {
    const file = join(home, 'bomb.tar');
    writeFileSync(
      file,
      image([...base, { name: 'zeros', content: Buffer.alloc(8 * 2 ** 20) }], { compression: 'gzip' }),
    );
    const descriptor = openSync(file, 'r');
    const failure = (await loadArchive(store, descriptor, undefined, () => {}, { bytes: 2 ** 20, entries: 100 }).catch(
      (error) => error,
    )) as ImageFailure;
    closeSync(descriptor);
    expect(failure.code).toBe('image-too-large');
    expect(leftovers()).toEqual([]);
  });

  it('sweeps what a load that was killed has left', async () => {
    mkdirSync(join(store.folder, 'incoming-1/parts'), { recursive: true });
    mkdirSync(join(store.layers, 'orphan'), { recursive: true });
    writeFileSync(join(store.folder, 'lock'), JSON.stringify({ pid: 1, start: 'long ago' }));
    await load(image(base));
    expect(leftovers()).toEqual(store.list()[0]!.layers.map(({ folder }) => folder));
  });
});
