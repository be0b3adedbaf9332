import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KubeObject } from '../../kube/types.ts';
import { StateError } from './open.ts';
import { Store } from './store.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-store-'));
  file = join(folder, 'state.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

const map = (name: string, data: object = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data,
});

test('a writer killed in the middle of its writes loses nothing it acknowledged', async () => {
  const writer = `
    import { writeSync } from 'node:fs';
    import { Store } from ${JSON.stringify(new URL('./store.ts', import.meta.url).href)};
    const store = Store.open(${JSON.stringify(file)});
    for (let n = 0; ; n++) {
      const name = 'c' + (n % 50);
      const stored = store.put('configmaps', name, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { n: String(n) } });
      writeSync(1, stored.metadata.resourceVersion + ' ' + name + ' ' + n + '\\n');
    }`;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', writer],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk;
    if (said.length > 2000) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  const acknowledged = said
    .slice(0, said.lastIndexOf('\n'))
    .split('\n')
    .map((line) => line.split(' ') as [string, string, string]);
  expect(acknowledged.length).toBeGreaterThan(50);

  const store = Store.open(file);
  const last = new Map(acknowledged.map(([version, name, n]) => [name, { version: Number(version), n: Number(n) }]));
  for (const [name, { version, n }] of last) {
    const found = store.get('configmaps', name)!;
    expect(Number(found.metadata.resourceVersion)).toBeGreaterThanOrEqual(version);
    expect(Number(found.data.n)).toBeGreaterThanOrEqual(n);
  }
  expect(store.version).toBeGreaterThanOrEqual(Number(acknowledged.at(-1)![0]));
  store.close();
});

test.each([
  ['an empty file', () => Buffer.alloc(0)],
  [
    'a state file that was cut off',
    (path: string) => {
      const store = Store.open(path);
      for (let n = 0; n < 200; n++) store.put('configmaps', `c${n}`, map(`c${n}`, { text: 'x'.repeat(200) }));
      store.close();
      return readFileSync(path).subarray(0, 9000);
    },
  ],
  [
    'a state file with an object that is none',
    (path: string) => {
      const store = Store.open(path);
      store.put('configmaps', 'a', map('a'));
      store.close();
      const database = new DatabaseSync(path);
      database.exec("UPDATE objects SET body = '{'");
      database.close();
      return readFileSync(path);
    },
  ],
  ['text', () => Buffer.from('not a database at all, by a long way')],
  [
    'a database of something else',
    (path: string) => {
      const other = new DatabaseSync(path);
      other.exec('CREATE TABLE birds (name TEXT); PRAGMA user_version = 1');
      other.close();
      return readFileSync(path);
    },
  ],
  [
    'a state file with its pages overwritten',
    (path: string) => {
      const store = Store.open(path);
      for (let n = 0; n < 200; n++) store.put('configmaps', `c${n}`, map(`c${n}`, { text: 'x'.repeat(200) }));
      store.close();
      return readFileSync(path).fill(0x5a, 4096);
    },
  ],
])('%s is refused and left as it is', (_, make) => {
  const content = make(file);
  writeFileSync(file, content);
  expect(() => Store.open(file)).toThrow(expect.objectContaining({ code: 'state-corrupt' }));
  expect(readFileSync(file).equals(content)).toBe(true);
});

test('objects, versions and secrets are there after closing and opening', () => {
  const first = Store.open(file);
  first.put('configmaps', 'a', map('a'));
  first.put('configmaps', 'b', map('b'));
  first.remove('configmaps', 'a');
  const { version } = first;
  const secret = first.secret('token', () => 'once');
  first.close();
  const second = Store.open(file);
  expect(second.list('configmaps').map((object) => object.metadata.name)).toEqual(['b']);
  expect(second.version).toBe(version);
  expect(second.secret('token', () => 'twice')).toBe(secret);
  second.close();
});

test('changes since a version are there until they are too old', () => {
  const store = Store.open(':memory:');
  const start = store.version;
  store.put('configmaps', 'a', map('a'));
  store.put('configmaps', 'a', map('a', { x: '1' }));
  store.remove('configmaps', 'a');
  expect(store.since(start)?.map((change) => change.event.type)).toEqual(['ADDED', 'MODIFIED', 'DELETED']);
  expect(store.since(start + 2)?.map((change) => change.event.type)).toEqual(['DELETED']);
  for (let n = 0; n < 6000; n++) store.put('configmaps', 'b', map('b'));
  expect(store.since(start)).toBeUndefined();
  expect(store.since(store.version)).toEqual([]);
  store.close();
});

test('a state file of a newer version is refused under its own name and left as it is', () => {
  Store.open(file).close();
  const database = new DatabaseSync(file);
  database.exec('PRAGMA user_version = 99');
  database.close();
  const content = readFileSync(file);
  expect(() => Store.open(file)).toThrow(expect.objectContaining({ code: 'state-newer' }));
  expect(readFileSync(file).equals(content)).toBe(true);
});

test('a creation that was cut short leaves nothing in the way', () => {
  writeFileSync(`${file}.new`, 'half a database');
  const store = Store.open(file);
  store.put('configmaps', 'a', map('a'));
  store.close();
  expect(existsSync(`${file}.new`)).toBe(false);
});

test.skipIf(process.getuid?.() !== 0)('on a full disk a write fails as such, and what is there stays', () => {
  const mounted = join(folder, 'small');
  mkdirSync(mounted);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'mesh-test', mounted]);
  try {
    const path = join(mounted, 'state.db');
    const store = Store.open(path);
    const fill = (): void => {
      for (let n = 0; n < 1000; n++) store.put('configmaps', `c${n}`, map(`c${n}`, { text: 'x'.repeat(2000) }));
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'disk-full' }));
    const names = store.list('configmaps').map((object) => object.metadata.name);
    expect(names.length).toBeGreaterThan(10);
    expect(() => store.put('configmaps', 'more', map('more', { text: 'x'.repeat(9000) }))).toThrow(StateError);
    expect(store.get('configmaps', 'more')).toBeUndefined();
    store.close();
    const again = Store.open(path);
    expect(again.list('configmaps').map((object) => object.metadata.name)).toEqual(expect.arrayContaining(names));
    again.close();
  } finally {
    execFileSync('umount', ['--lazy', mounted]);
  }
});
