import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import { Agent, isUninstalled } from './agent.ts';
import type { PluginFiles } from './plugin-files.ts';

const list = '{"name": "pods", "plugins": [{"type": "bridge"}]}';

function makeAgent() {
  const confDir = mkdtempSync(join(tmpdir(), 'mesh-cni-test-'));
  const binDir = mkdtempSync(join(tmpdir(), 'mesh-cni-test-'));
  const program = join(binDir, 'mesh-cni');
  const files = {
    get isInPlace() {
      return existsSync(program);
    },
    install: vi.fn(async () => writeFileSync(program, 'x')),
    removeOthers: vi.fn(),
    writeApiAccess: vi.fn(),
    remove: vi.fn(() => rmSync(program)),
  };
  const lines: string[] = [];
  let token = 't1';
  const agent = new Agent({
    config: { binDir, confDir },
    files: files as unknown as PluginFiles,
    access: async () => ({ server: 's', ca: 'c', token }),
    log: (line) => lines.push(line),
  });
  onTestFinished(async () => {
    await agent.stop(false);
    for (const folder of [confDir, binDir]) rmSync(folder, { recursive: true });
  });
  const conf = join(confDir, '10-pods.conflist');
  const chained = () => readFileSync(conf, 'utf8').includes('mesh-cni');
  const renew = (next: string): void => {
    token = next;
  };
  return { agent, files, lines, program, conf, chained, renew };
}

test('an agent waits for a network configuration, and takes its place in it as soon as it is there', async () => {
  const { agent, conf, chained, lines } = makeAgent();
  await agent.start();
  expect(agent.waitingFor).toMatch(/there is no network configuration in \S+ yet/);
  writeFileSync(conf, list.slice(0, 20));
  await vi.waitFor(() => expect(agent.waitingFor).toContain('10-pods.conflist: '), 5000);
  writeFileSync(conf, list);
  await vi.waitFor(() => expect(agent.waitingFor).toBeUndefined(), 5000);
  expect(chained()).toBe(true);
  expect(lines.at(-1)).toBe('the plugin is chained in 10-pods.conflist');
});

test('an agent puts back what others take away: its entry, and its program', async () => {
  const { agent, conf, chained, program, files } = makeAgent();
  writeFileSync(conf, list);
  await agent.start();
  expect(chained()).toBe(true);
  writeFileSync(conf, list);
  await vi.waitFor(() => expect(chained()).toBe(true), 5000);
  rmSync(program);
  await vi.waitFor(() => expect(existsSync(program)).toBe(true), 5000);
  expect(files.install).toHaveBeenCalledTimes(2);
});

test('an agent hands a renewed token on', async () => {
  const { agent, conf, files, renew } = makeAgent();
  writeFileSync(conf, list);
  await agent.start();
  expect(files.writeApiAccess).toHaveBeenLastCalledWith({ server: 's', ca: 'c', token: 't1' });
  renew('t2');
  // Any change in the folder is an occasion.
  writeFileSync(conf, list);
  await vi.waitFor(
    () => expect(files.writeApiAccess).toHaveBeenLastCalledWith({ server: 's', ca: 'c', token: 't2' }),
    5000,
  );
});

test('an agent whose plugin does not run on the node touches no configuration', async () => {
  const { agent, conf, files } = makeAgent();
  writeFileSync(conf, list);
  files.install.mockRejectedValue(new Error('the plugin does not run on this node: noexec'));
  await expect(agent.start()).rejects.toThrow('noexec');
  expect(readFileSync(conf, 'utf8')).toBe(list);
});

test('an agent that ends leaves the plugin in place; one that is uninstalled leaves nothing', async () => {
  const kept = makeAgent();
  writeFileSync(kept.conf, list);
  await kept.agent.start();
  await kept.agent.stop(false);
  expect([kept.chained(), existsSync(kept.program)]).toEqual([true, true]);

  const gone = makeAgent();
  writeFileSync(gone.conf, list);
  await gone.agent.start();
  const stopped = gone.agent.stop(true);
  // A runtime that still has the old configuration finds the program for a while.
  await vi.waitFor(() => expect(gone.chained()).toBe(false), 1000);
  expect(existsSync(gone.program)).toBe(true);
  await stopped;
  expect(existsSync(gone.program)).toBe(false);
  expect(readFileSync(gone.conf, 'utf8')).toBe(list);
  writeFileSync(gone.conf, `${list}\n`);
  await delay(200);
  expect(gone.chained()).toBe(false);
});

test.each<[string, (type: unknown) => unknown, boolean]>([
  ['its DaemonSet is there', () => ({ metadata: {} }), false],
  ['its DaemonSet is gone', (type) => (type === resources.daemonSets ? undefined : { metadata: {} }), true],
  [
    'its namespace is being deleted',
    (type) => ({ metadata: type === resources.namespaces ? { deletionTimestamp: 'now' } : {} }),
    true,
  ],
  ['its role is gone', () => Promise.reject(new KubeError(403, 'Forbidden', 'no')), true],
  ['its account is gone', () => Promise.reject(new KubeError(401, 'Unauthorized', 'no')), true],
  ['the API server is away', () => Promise.reject(new KubeError(0, '', 'connection refused')), false],
  ['the API server fails', () => Promise.reject(new KubeError(500, '', 'etcd')), false],
])('where %s, an agent that ends knows whether the plugin is to go', async (_what, find, uninstalled) => {
  expect(await isUninstalled({ find: async (type: unknown) => find(type) as never })).toBe(uninstalled);
});
