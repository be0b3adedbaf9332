import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfFolder } from './conf-folder.ts';

const entry = { type: 'mesh-cni', capabilities: { 'io.kubernetes.cri.pod-annotations': true } };
const list =
  '{"cniVersion": "0.4.0", "name": "pods",\n   "plugins": [{"type": "bridge", "mtu": 9001}, {"type": "portmap"}]}';
const single = '{"cniVersion": "0.3.1", "name": "net", "type": "calico"}';

let folder: string;
let conf: ConfFolder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-cni-test-'));
  conf = new ConfFolder(folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (name: string, text: string): void => writeFileSync(join(folder, name), text);
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const plugins = (name: string) => JSON.parse(read(name)).plugins as { type: string }[];
const types = (name: string) => plugins(name).map(({ type }) => type);
/** What runtimes see, by name; other names are not read. */
const seen = () => readdirSync(folder).filter((name) => /\.(conf|conflist|json)$/.test(name));
const everything = () => Object.fromEntries(readdirSync(folder).map((name) => [name, read(name)]));

describe('the first list', () => {
  test('gets the plugin at its end, keeps its mode, and comes back byte for byte', () => {
    writeFileSync(join(folder, '10-pods.conflist'), list, { mode: 0o600 });
    put('99-other.conflist', list);
    const before = everything();
    expect(conf.chain()).toBe('10-pods.conflist');
    expect(plugins('10-pods.conflist')).toEqual([...JSON.parse(list).plugins, entry]);
    expect(statSync(join(folder, '10-pods.conflist')).mode & 0o777).toBe(0o600);
    expect(read('99-other.conflist')).toBe(list);
    conf.unchain();
    expect(everything()).toEqual(before);
  });

  test('is left alone once the plugin is there', () => {
    put('10-pods.conflist', list);
    conf.chain();
    const { mtimeNs, ino } = statSync(join(folder, '10-pods.conflist'), { bigint: true });
    expect(conf.chain()).toBe('10-pods.conflist');
    expect(statSync(join(folder, '10-pods.conflist'), { bigint: true })).toMatchObject({ mtimeNs, ino });
  });

  test('gets the plugin again where the network plugin rewrites it, and what it wrote last comes back', () => {
    put('10-pods.conflist', list);
    conf.chain();
    const newer = list.replace('9001', '1500');
    put('10-pods.conflist', newer);
    conf.chain();
    expect(types('10-pods.conflist')).toEqual(['bridge', 'portmap', 'mesh-cni']);
    conf.unchain();
    expect(everything()).toEqual({ '10-pods.conflist': newer });
  });

  test('keeps what others changed in it meanwhile', () => {
    put('10-pods.conflist', list);
    conf.chain();
    const chained = JSON.parse(read('10-pods.conflist'));
    put('10-pods.conflist', JSON.stringify({ ...chained, plugins: [...chained.plugins, { type: 'istio-cni' }] }));
    conf.chain();
    expect(types('10-pods.conflist')).toEqual(['bridge', 'portmap', 'istio-cni', 'mesh-cni']);
    conf.unchain();
    expect(types('10-pods.conflist')).toEqual(['bridge', 'portmap', 'istio-cni']);
    expect(readdirSync(folder)).toEqual(['10-pods.conflist']);
  });

  test('has an entry of another version replaced, and never two', () => {
    put(
      '10-pods.conflist',
      JSON.stringify({ name: 'pods', plugins: [{ type: 'mesh-cni', old: 1 }, { type: 'a' }, entry] }),
    );
    conf.chain();
    expect(plugins('10-pods.conflist')).toEqual([{ type: 'a' }, entry]);
  });

  test('is another one after a network plugin has come: the plugin moves there', () => {
    put('10-pods.conflist', list);
    conf.chain();
    put('05-cilium.conflist', list);
    expect(conf.chain()).toBe('05-cilium.conflist');
    expect(types('05-cilium.conflist')).toContain('mesh-cni');
    expect(read('10-pods.conflist')).toBe(list);
  });
});

describe('a single configuration', () => {
  test.each(['10-calico.conf', '10-calico.json'])('%s becomes a list with the plugin, and comes back', (name) => {
    put(name, single);
    const before = everything();
    expect(conf.chain()).toBe('10-calico.conflist');
    expect(seen()).toEqual(['10-calico.conflist']);
    expect(JSON.parse(read('10-calico.conflist'))).toEqual({
      cniVersion: '0.3.1',
      name: 'net',
      plugins: [JSON.parse(single), entry],
    });
    expect(conf.chain()).toBe('10-calico.conflist');
    conf.unchain();
    expect(everything()).toEqual(before);
  });

  test('that the network plugin writes again is taken into the list again', () => {
    put('10-calico.conf', single);
    conf.chain();
    const newer = single.replace('net', 'net2');
    put('10-calico.conf', newer);
    conf.chain();
    expect(seen()).toEqual(['10-calico.conflist']);
    expect(JSON.parse(read('10-calico.conflist')).name).toBe('net2');
    put('10-calico.conf', newer);
    conf.unchain();
    expect(everything()).toEqual({ '10-calico.conf': newer });
  });

  test('beside a list of the same name that is not ours is not touched', () => {
    put('10-calico.conf', single);
    put('10-calico.conflist', list);
    const before = everything();
    expect(() => conf.chain()).toThrow('10-calico.conflist is there too');
    expect(everything()).toEqual(before);
  });
});

test('a folder without a configuration is waited for', () => {
  put('README', 'nothing here');
  expect(conf.chain()).toBeUndefined();
  conf.unchain();
  expect(readdirSync(folder)).toEqual(['README']);
});

test.each(['', '{"name": "pods", "plug', '[]', '{"name": "pods", "plugins": []}'])(
  'a list that is being written, or is none, is left as it is: %j',
  (text) => {
    put('10-pods.conflist', text);
    expect(() => conf.chain()).toThrow('10-pods.conflist: ');
    expect(everything()).toEqual({ '10-pods.conflist': text });
    put('10-pods.conflist', list);
    expect(conf.chain()).toBe('10-pods.conflist');
  },
);

test('what others have taken away is not brought back', () => {
  put('10-pods.conflist', list);
  conf.chain();
  rmSync(join(folder, '10-pods.conflist'));
  conf.unchain();
  expect(readdirSync(folder)).toEqual([]);
});
