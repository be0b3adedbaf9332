import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runMesh } from '../test-screen.ts';

describe('mesh image', () => {
  let home: string;
  const state = (): string => join(home, 'mesh/state');

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'mesh-image-'));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const mesh = (args: string[], env: Record<string, string> = {}) =>
    runMesh(['image', ...args], {
      env: { HOME: home, MESH_HOME: join(home, 'mesh'), LANG: 'C.UTF-8', ...env },
    });

  /** A local mesh that does not run, with images. */
  function stopped(images: object[]): void {
    mkdirSync(join(state(), 'images'), { recursive: true });
    writeFileSync(join(state(), 'images/index.json'), JSON.stringify({ images }));
  }

  const image = (hex: string, names: string[]): object => ({
    id: `sha256:${hex.repeat(64)}`,
    names,
    digests: [],
    layers: [
      { folder: 'one', bytes: 3_145_728 },
      { folder: 'two', bytes: 524_288 },
    ],
    config: {},
    loaded: '2026-01-02T03:04:05.678Z',
  });

  it('shows its commands, in each form of asking', async () => {
    for (const args of [[], ['-q'], ['--help'], ['-h']]) {
      const { code, out, err } = await mesh(args);
      expect([code, err]).toEqual([0, '']);
      for (const name of ['load', 'list|ls', 'rm|remove']) expect(out).toContain(name);
    }
  });

  it('takes flags of every command before, between and behind its words', async () => {
    stopped([image('b', ['docker.io/library/nginx:1.29'])]);
    for (const words of [
      ['-n', 'shop', 'image', 'list', '-o', 'json'],
      ['image', '--no-color', 'ls', '-ojson'],
      ['image', '-n', 'shop', '--output', 'json', 'list'],
    ]) {
      const { code, out, err } = await runMesh(words, {
        env: { HOME: home, MESH_HOME: join(home, 'mesh') },
      });
      expect([code, err]).toEqual([0, '']);
      expect(JSON.parse(out).items).toHaveLength(1);
    }
  });

  it.each([
    [
      ['image', ''],
      ['load', 'list', 'rm'],
    ],
    [
      ['image', 'list', '-o', ''],
      ['table', 'json', 'yaml'],
    ],
    [
      ['image', 'load', '--'],
      ['--name', '--help'],
    ],
    [
      ['help', 'image', ''],
      ['load', 'list', 'rm'],
    ],
  ])('completes %j', async (words, wanted) => {
    const { out } = await runMesh(['__complete', '--', ...words]);
    expect(out.split('\n')).toEqual(expect.arrayContaining(wanted));
  });

  it('suggests the nearest command, and that of flags', async () => {
    expect(await mesh(['lod', 'x'])).toMatchObject({ code: 2, err: expect.stringContaining('did you mean load?') });
    expect(await mesh(['list', '--ouput', 'json'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--output'),
    });
    expect(await mesh(['list', '-o', 'jsn'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('did you mean json?'),
    });
  });

  it.each([['load', 'x.tar'], ['list'], ['rm', 'x']])('%s says that there is no local mesh', async (...args) => {
    expect(await mesh(args)).toMatchObject({ code: 4, err: expect.stringContaining('errors#local-mesh-not-running') });
  });

  it('says that it is not for a cluster, where one is configured', async () => {
    const file = join(home, 'kubeconfig');
    writeFileSync(file, '{}');
    expect(await mesh(['list'], { KUBECONFIG: file })).toMatchObject({
      code: 1,
      err: expect.stringContaining('errors#image-of-cluster'),
    });
  });

  it('says that an archive cannot be read', async () => {
    stopped([]);
    const { code, err } = await mesh(['load', join(home, 'missing.tar')]);
    expect(code).toBe(1);
    expect(err).toContain('missing.tar');
    expect(err).toContain('errors#unreadable-input');
  });

  it('lists every name of every image, and those that have lost theirs', async () => {
    stopped([image('b', ['docker.io/library/nginx:1.29', 'localhost/mine:1']), image('a', [])]);
    const { code, out } = await mesh(['list']);
    expect(code).toBe(0);
    expect(out.split('\n')).toEqual([
      'NAME              ID            SIZE    LOADED',
      '<none>            aaaaaaaaaaaa  3.5MiB  2026-01-02T03:04:05Z',
      'localhost/mine:1  bbbbbbbbbbbb  3.5MiB  2026-01-02T03:04:05Z',
      'nginx:1.29        bbbbbbbbbbbb  3.5MiB  2026-01-02T03:04:05Z',
      '',
    ]);
    const { items } = JSON.parse((await mesh(['ls', '-o', 'json'])).out);
    expect(items).toHaveLength(2);
    expect(items[0]).toMatchObject({ size_bytes: 3_670_016, layers: 2 });
  });

  it('lists nothing as an empty array, and says so', async () => {
    stopped([]);
    expect(JSON.parse((await mesh(['list', '-o', 'json'])).out)).toEqual({ items: [] });
    expect(await mesh(['list'])).toMatchObject({ code: 0, out: '', err: expect.stringContaining('No images') });
  });

  it('names the list of images that is broken, and the way out', async () => {
    stopped([]);
    writeFileSync(join(state(), 'images/index.json'), '{');
    const { code, err } = await mesh(['list']);
    expect(code).toBe(1);
    expect(err).toContain('index.json');
    expect(err).toContain('errors#image-store-broken');
  });

  it('removes nothing where one of the names is not loaded, or the mesh does not run', async () => {
    stopped([image('b', ['docker.io/library/nginx:1.29'])]);
    expect(await mesh(['rm', 'nginx:1.29', 'other'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('No image other'),
    });
    expect(await mesh(['rm', 'nginx:1.29'])).toMatchObject({
      code: 4,
      err: expect.stringContaining('errors#local-mesh-not-running'),
    });
    expect((await mesh(['list'])).out).toContain('nginx:1.29');
  });
});
