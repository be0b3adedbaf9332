import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launcher } from './launcher.ts';
import { PluginFiles } from './plugin-files.ts';
import { imageOfThisMachine } from './test-image.ts';

const folder = mkdtempSync(join(tmpdir(), 'mesh-cni-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

let image: Map<string, string>;
beforeAll(async () => {
  image = await imageOfThisMachine(join(folder, 'image'), '/bin/true');
});

function bin(name: string): string {
  const made = join(folder, name);
  mkdirSync(made);
  return made;
}

describe('the launcher', () => {
  const start = (command: string[], env: Record<string, string> = {}) => {
    const file = join(folder, 'launcher');
    writeFileSync(file, launcher(process.arch, command, '{"code":102}'), { mode: 0o755 });
    const { status, stdout } = spawnSync(file, ['ignored'], { env, encoding: 'utf8' });
    return { status, stdout };
  };

  test('becomes its command, with its arguments alone and the environment as it came', () => {
    expect(start(['/bin/echo', 'one', 'two words', '']).stdout).toBe('one two words \n');
    expect(start(['/usr/bin/env'], { CNI_COMMAND: 'ADD', B: '' }).stdout).toBe('CNI_COMMAND=ADD\nB=\n');
    expect(start(['/bin/false']).status).toBe(1);
  });

  test('says so, as the specification has it, where the command is not there', () => {
    expect(start(['/nowhere/loader', 'x'])).toEqual({ status: 1, stdout: '{"code":102}\n' });
  });

  test('is a program of either machine, and of no other', () => {
    expect(launcher('x64', ['/a'], '').readUInt16LE(18)).toBe(62);
    expect(launcher('arm64', ['/a'], '').readUInt16LE(18)).toBe(183);
    expect(() => launcher('riscv64', ['/a'], '')).toThrow('no launcher can be made for riscv64');
  });

  test('of arm64 finds its path, arguments and message where its code looks for them', () => {
    const file = launcher('arm64', ['/a/b', 'c'], 'no');
    const at = (index: number) => Number(file.readBigUInt64LE(176 + 64 + 8 * index)) - 0x400000;
    const text = (offset: number) => file.toString('latin1', offset, file.indexOf(0, offset));
    const [path, argv, message, size] = [at(0), at(1), at(2), at(3) + 0x400000];
    expect(text(path!)).toBe('/a/b');
    const args = [0, 1, 2].map((index) => Number(file.readBigUInt64LE(argv! + 8 * index)));
    expect([text(args[0]! - 0x400000), text(args[1]! - 0x400000), args[2]]).toEqual(['/a/b', 'c', 0]);
    expect(file.toString('latin1', message, message! + size!)).toBe('no\n');
  });
});

describe('the files of the plugin', () => {
  const run = (program: string, command: string, stdin: object) => {
    const env = { CNI_COMMAND: command, CNI_NETNS: '/nowhere' };
    const { status, stdout } = spawnSync(program, [], { env, input: JSON.stringify(stdin), encoding: 'utf8' });
    return { status, answer: stdout === '' ? '' : JSON.parse(stdout) };
  };

  test('run by themselves once they are in place, and go without a trace', async () => {
    const folder = bin('whole');
    writeFileSync(join(folder, 'bridge'), 'another plugin');
    const files = new PluginFiles(folder, image);
    expect(files.isInPlace).toBe(false);
    await files.install();
    expect(files.isInPlace).toBe(true);
    const program = join(folder, 'mesh-cni');
    const prevResult = { cniVersion: '1.0.0', ips: [] };
    const conf = { cniVersion: '1.0.0', name: 'pods', type: 'mesh-cni', prevResult, runtimeConfig: {} };
    expect(run(program, 'ADD', conf)).toEqual({ status: 0, answer: prevResult });
    const runtimeConfig = { 'io.kubernetes.cri.pod-annotations': { 'mesh.dev/redirect': 'cni' } };
    expect(run(program, 'ADD', { ...conf, runtimeConfig })).toMatchObject({
      status: 1,
      answer: { cniVersion: '1.0.0', code: 100, msg: expect.stringContaining('/nowhere') },
    });
    expect(run(program, 'ADD', {})).toMatchObject({ status: 1, answer: { code: 1 } });
    files.remove();
    expect(readdirSync(folder)).toEqual(['bridge']);
  });

  test('are not in place where one is gone or cut short, or the program is another', async () => {
    const folder = bin('damaged');
    const files = new PluginFiles(folder, image);
    await files.install();
    const [version] = readdirSync(join(folder, 'mesh-cni.d'));
    for (const damage of [
      () => rmSync(join(folder, 'mesh-cni.d', version!, 'nft')),
      () => writeFileSync(join(folder, 'mesh-cni.d', version!, 'cni.js'), ''),
      () => writeFileSync(join(folder, 'mesh-cni'), '#!/bin/sh\n'),
    ]) {
      damage();
      expect(files.isInPlace).toBe(false);
      await files.install();
      expect(files.isInPlace).toBe(true);
    }
  });

  test('that do not run here leave what was there before', async () => {
    const folder = bin('refused');
    const files = new PluginFiles(folder, image);
    await files.install();
    const before = readFileSync(join(folder, 'mesh-cni'));
    const broken = join(dirname(image.get('cni.js')!), 'broken.js');
    writeFileSync(broken, 'throw new Error("no good");');
    const next = new PluginFiles(folder, new Map([...image, ['cni.js', broken]]));
    await expect(next.install()).rejects.toThrow(/does not run on this node: .*no good/s);
    expect(readFileSync(join(folder, 'mesh-cni')).equals(before)).toBe(true);
    expect(run(join(folder, 'mesh-cni'), 'VERSION', {}).status).toBe(0);
    expect(existsSync(join(folder, '.mesh-cni.new'))).toBe(false);
  });

  test('of a newer version come beside the older, which go later', async () => {
    const folder = bin('upgraded');
    const first = new PluginFiles(folder, image);
    await first.install();
    const newer = join(dirname(image.get('cni.js')!), 'newer.js');
    writeFileSync(newer, `${readFileSync(image.get('cni.js')!, 'utf8')}\n// newer`);
    const next = new PluginFiles(folder, new Map([...image, ['cni.js', newer]]));
    await next.install();
    expect([first.isInPlace, next.isInPlace]).toEqual([false, true]);
    expect(readdirSync(join(folder, 'mesh-cni.d'))).toHaveLength(2);
    next.removeOthers();
    expect(next.isInPlace).toBe(true);
    expect(readdirSync(join(folder, 'mesh-cni.d'))).toHaveLength(1);
  });

  test('hold all that asks the API server, where the runtime does not tell a pod’s annotations', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      const metadata = { name: 'b', namespace: 'a', annotations: { 'mesh.dev/redirect': 'cni;skip-inbound=many' } };
      response.end(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata }));
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const folder = bin('asking');
    const files = new PluginFiles(folder, image);
    await files.install();
    const { port } = server.address() as AddressInfo;
    files.writeApiAccess({ server: `http://127.0.0.1:${port}`, ca: '', token: 't' });
    const prevResult = { cniVersion: '1.1.0', ips: [] };
    const env = { CNI_COMMAND: 'ADD', CNI_NETNS: '/run/netns/none', CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=b' };
    const call = execa(join(folder, 'mesh-cni'), {
      ...{ env, extendEnv: false, reject: false },
      input: JSON.stringify({ cniVersion: '1.1.0', name: 'pods', type: 'mesh-cni', prevResult }),
    });
    // The pod is one with a proxy: what is wrong with its annotation keeps it from starting.
    expect(JSON.parse((await call).stdout)).toMatchObject({ code: 101, msg: expect.stringContaining('"many"') });
    expect(asked).toEqual(['GET /api/v1/namespaces/a/pods/b Bearer t']);
  });

  test('keep the way to the API server for root alone', async () => {
    const folder = bin('access');
    const files = new PluginFiles(folder, image);
    await files.install();
    files.writeApiAccess({ server: 'https://10.0.0.1', ca: 'c', token: 't1' });
    files.writeApiAccess({ server: 'https://10.0.0.1', ca: 'c', token: 't2' });
    const file = join(folder, 'mesh-cni.d/api.json');
    expect(JSON.parse(readFileSync(file, 'utf8')).token).toBe('t2');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});
