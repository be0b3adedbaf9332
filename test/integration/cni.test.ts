/** The CNI plugin as a node has it, in the network namespace of a pod; and what sees that its rules are there. Needs root, nft and ip. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PluginFiles } from '../../cni/plugin-files.ts';
import { imageOfThisMachine } from '../../cni/test-image.ts';

const root = process.getuid?.() === 0;
if (!root) process.stderr.write('cni skipped: needs root: network namespaces\n');
const pod = `mesh-cni-p${process.pid}`;
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });
const project = resolve(import.meta.dirname, '../..');
const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.9.8.2/24' }] };

describe.skipIf(!root)('the CNI plugin', () => {
  let folder = '';
  const bin = () => join(folder, 'bin');

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-cni-'));
    mkdirSync(bin());
    const nft = execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin:/sbin command -v nft'], { encoding: 'utf8' }).trim();
    await new PluginFiles(bin(), await imageOfThisMachine(join(folder, 'image'), nft)).install();
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(() => {
    ip('netns', 'add', pod);
    ip('-n', pod, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1');
    ip('-n', pod, 'addr', 'add', '10.9.8.2/24', 'dev', 'eth0');
    ip('-n', pod, 'addr', 'add', 'fd08::2/64', 'dev', 'eth0', 'nodad');
    for (const link of ['lo', 'eth0', 'eth1']) ip('-n', pod, 'link', 'set', link, 'up');
  });
  afterEach(() => {
    ip('netns', 'del', pod);
  });

  function call(command: string, redirect?: string) {
    const annotations = redirect === undefined ? {} : { 'mesh.dev/redirect': redirect };
    const runtimeConfig = { 'io.kubernetes.cri.pod-annotations': annotations };
    const input = JSON.stringify({ cniVersion: '1.1.0', name: 'pods', type: 'mesh-cni', prevResult, runtimeConfig });
    const env = {
      CNI_COMMAND: command,
      CNI_NETNS: `/run/netns/${pod}`,
      CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=b',
    };
    const { status, stdout } = spawnSync(join(bin(), 'mesh-cni'), [], { input, env, encoding: 'utf8' });
    return { status, answer: stdout === '' ? undefined : JSON.parse(stdout) };
  }
  const rules = () =>
    spawnSync('ip', ['netns', 'exec', pod, 'nft', 'list', 'ruleset'], {
      encoding: 'utf8',
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    }).stdout;

  /** What `mesh-validate` says in the pod, as the user it runs as. */
  function validate(host: string, skipped = '') {
    const program = [process.execPath, '--disable-warning=ExperimentalWarning', `${project}/proxy/validate.ts`];
    const env = {
      KUBERNETES_SERVICE_HOST: host,
      MESH_VALIDATE_NODE_NAME: 'node-1',
      MESH_VALIDATE_SKIP_OUTBOUND_PORTS: skipped,
    };
    const { status, stderr } = spawnSync('ip', ['netns', 'exec', pod, ...program], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    return { status, stderr };
  }

  it('writes the rules of a meshed pod, which the pod then finds', () => {
    expect(call('ADD', 'cni;skip-inbound=9000;skip-outbound=65535')).toEqual({ status: 0, answer: prevResult });
    expect(ip('netns', 'exec', pod, 'cat', '/proc/sys/net/ipv4/tcp_tw_reuse')).toBe('1\n');
    expect(rules()).toMatch(/dport \{[^}]*9000[^}]*\} return/);
    for (const host of ['10.9.8.9', 'fd08::9'])
      expect(validate(host, '65535')).toEqual({ status: 0, stderr: 'mesh-validate: redirect rules are in place\n' });
    expect(call('CHECK', 'cni').status).toBe(0);
    expect(call('DEL', 'cni')).toEqual({ status: 0, answer: undefined });
  });

  it('writes none for another pod; a pod that needs them does not start, and says what to do', () => {
    expect(call('ADD')).toEqual({ status: 0, answer: prevResult });
    expect(rules()).toBe('');
    expect(call('CHECK')).toEqual({ status: 0, answer: undefined });
    expect(call('CHECK', 'cni')).toMatchObject({ status: 1, answer: { code: 100 } });
    // An address of the pod itself, so that the answer does not take its time.
    const { status, stderr } = validate('10.9.8.2');
    expect(status).toBe(1);
    expect(stderr).toMatch(/not redirected .*ECONNREFUSED.*not in place on node node-1.*Delete the pod/);
  });

  it('leaves nothing to look at where every port bypasses the proxy', () => {
    call('ADD', 'cni;skip-outbound=1-65535');
    expect(validate('10.9.8.9', '1-65535')).toMatchObject({ status: 0 });
  });
});
