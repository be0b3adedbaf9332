import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createConfiguredClient } from './configured.ts';
import { readKubeconfig } from './kubeconfig.ts';

const folder = mkdtempSync(join(tmpdir(), 'mesh-kubeconfig-'));
const requests: IncomingMessage[] = [];
/** Answers as an API server, whatever its path is asked for. */
const server = createServer((request, response) => {
  requests.push(request);
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"gitVersion":"v1.34.0"}');
});
let address: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

interface Parts {
  current?: string;
  clusters?: Record<string, object>;
  users?: Record<string, object>;
  contexts?: Record<string, object>;
}

let files = 0;
/** A kubeconfig of these parts; YAML reads JSON. */
function file(parts: Parts, path = join(folder, `${++files}.config`)): string {
  const named = (key: string, all: Record<string, object> = {}) =>
    Object.entries(all).map(([name, value]) => ({ name, [key]: value }));
  writeFileSync(
    path,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      ...(parts.current ? { 'current-context': parts.current } : {}),
      clusters: named('cluster', parts.clusters),
      users: named('user', parts.users),
      contexts: named('context', parts.contexts),
    }),
  );
  return path;
}

const one = (user: object, cluster: object = {}): string =>
  file({
    current: 'it',
    clusters: { it: { server: address, ...cluster } },
    users: { me: user },
    contexts: { it: { cluster: 'it', user: 'me', namespace: 'shop' } },
  });

/** The headers that a call arrives with. */
async function headersOf(path: string, more: object = {}): Promise<NodeJS.Dict<string | string[]>> {
  const client = await createConfiguredClient({ files: [path], timeoutMs: 5_000, local: false, ...more });
  await client.version();
  client.close();
  return requests.at(-1)!.headers;
}

describe('a list of kubeconfig files', () => {
  it('is merged: of two entries with one name the first file’s counts, and the first current context', () => {
    const first = file({ clusters: { a: { server: 'https://first' } }, users: { me: { token: 'first' } } });
    const second = file({
      current: 'second',
      clusters: { a: { server: 'https://second' }, b: { server: 'https://b' } },
      users: { me: { token: 'second' } },
      contexts: { second: { cluster: 'a', user: 'me', namespace: 'from-second' } },
    });
    const third = file({ current: 'third', contexts: { third: { cluster: 'b', user: 'me' } } });
    const chosen = readKubeconfig([first, second, third]);
    expect(chosen).toMatchObject({ name: 'second', namespace: 'from-second', cluster: { server: 'https://first' } });
    expect(chosen.config.getUser('me')).toMatchObject({ token: 'first' });
    expect(readKubeconfig([first, second, third], 'third').cluster.server).toBe('https://b');
  });

  it('may keep clusters, users and contexts in different files', () => {
    const clusters = file({ clusters: { a: { server: 'https://a' } } });
    const users = file({ users: { me: { token: 'x' } } });
    const contexts = file({ current: 'it', contexts: { it: { cluster: 'a', user: 'me' } } });
    expect(readKubeconfig([contexts, users, clusters]).cluster.server).toBe('https://a');
  });

  it('says what is missing, and where it was looked for', () => {
    const path = file({ current: 'gone', contexts: { dev: { cluster: 'a', user: 'b' } } });
    expect(() => readKubeconfig([path])).toThrow(`context "gone" is not in ${path}; there are dev`);
    expect(() => readKubeconfig([path], 'dev')).toThrow(`context "dev" names cluster "a", which is not in ${path}`);
    const userless = file({
      current: 'it',
      clusters: { a: { server: 'https://a' } },
      contexts: { it: { cluster: 'a', user: 'b' } },
    });
    expect(() => readKubeconfig([userless])).toThrow(`context "it" names user "b", which is not in ${userless}`);
    expect(() => readKubeconfig([file({})])).toThrow('there is no current context');
  });

  it('names the file that cannot be read', () => {
    const broken = join(folder, 'broken.config');
    writeFileSync(broken, 'clusters: [');
    expect(() => readKubeconfig([file({}), broken])).toThrow(`${broken}: `);
  });
});

describe('credentials', () => {
  it('are a token, a name and password, or a file that is read anew', async () => {
    expect((await headersOf(one({ token: 'secret' }))).authorization).toBe('Bearer secret');
    const basic = `Basic ${Buffer.from('jane:pw').toString('base64')}`;
    expect((await headersOf(one({ username: 'jane', password: 'pw' }))).authorization).toBe(basic);
    const token = join(folder, 'token');
    writeFileSync(token, 'from-file\n');
    expect((await headersOf(one({ tokenFile: 'token', token: 'not this' }))).authorization).toBe('Bearer from-file');
  });

  it('act as others where they are told to', async () => {
    const headers = await headersOf(one({ token: 'x' }), { as: 'jane', asGroup: ['devs', 'ops'] });
    expect(headers['impersonate-user']).toBe('jane');
    expect(headers['impersonate-group']).toBe('devs, ops');
  });

  it('come from a plugin beside the kubeconfig, which is told about the cluster', async () => {
    mkdirSync(join(folder, 'bin'));
    const plugin = join(folder, 'bin/plugin');
    writeFileSync(
      plugin,
      `#!/bin/sh
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s-%s"}}' "$1" "$(printf %s "$KUBERNETES_EXEC_INFO" | grep -c '"server":"${address}"')"
`,
    );
    chmodSync(plugin, 0o755);
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: './bin/plugin',
      args: ['told'],
      provideClusterInfo: true,
      interactiveMode: 'IfAvailable',
    };
    expect((await headersOf(one({ exec }))).authorization).toBe('Bearer told-1');
  });

  it('say how to get a plugin that is not installed, and what a failing one said', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', interactiveMode: 'Never' };
    const missing = one({ exec: { ...exec, command: 'no-such-plugin', installHint: 'Get it\nfrom there.' } });
    await expect(headersOf(missing)).rejects.toThrow(
      'the credential plugin no-such-plugin is not installed (Get it from there.)',
    );
    const failing = one({ exec: { ...exec, command: 'sh', args: ['-c', 'echo the login expired >&2; exit 3'] } });
    await expect(headersOf(failing)).rejects.toThrow('the credential plugin sh failed: the login expired');
    const asking = one({ exec: { ...exec, command: 'sh', interactiveMode: 'Always' } });
    await expect(headersOf(asking)).rejects.toThrow('needs a terminal');
  });
});

describe('a proxy before the cluster', () => {
  it('is the one of the cluster, before that of the environment', async () => {
    const unreachable = { server: 'http://cluster.invalid' };
    const seen = async (path: string, more: object = {}) => {
      await headersOf(path, more);
      return requests.at(-1)!.url;
    };
    expect(await seen(one({ token: 'x' }, { ...unreachable, 'proxy-url': address }))).toBe(
      'http://cluster.invalid/version',
    );
    expect(await seen(one({ token: 'x' }, unreachable), { proxyEnv: { HTTP_PROXY: address } })).toBe(
      'http://cluster.invalid/version',
    );
  });

  it('of a kind that is not spoken is refused', async () => {
    const path = one({ token: 'x' }, { 'proxy-url': 'socks5://127.0.0.1:1' });
    await expect(headersOf(path)).rejects.toThrow('socks5://127.0.0.1:1 is no http or https proxy');
  });
});

describe('the namespace', () => {
  it('is that of the flag, else of the context, else default', async () => {
    const namespace = async (path: string, given?: string) => {
      const client = await createConfiguredClient({ files: [path], namespace: given, timeoutMs: 5_000, local: false });
      client.close();
      return client.namespace;
    };
    expect(await namespace(one({ token: 'x' }))).toBe('shop');
    expect(await namespace(one({ token: 'x' }), 'other')).toBe('other');
    const bare = file({
      current: 'it',
      clusters: { it: { server: address } },
      users: { me: {} },
      contexts: { it: { cluster: 'it', user: 'me' } },
    });
    expect(await namespace(bare)).toBe('default');
  });
});
