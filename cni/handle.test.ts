import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { SkippedPorts } from '../protocol/redirect.ts';
import { handle, type Node } from './handle.ts';
import { redirectOf } from './pod-annotation.ts';
import { CniError, errorCode, errorOutput, readRequest, supportedVersions } from './spec.ts';

const prevResult = { cniVersion: '1.0.0', interfaces: [{ name: 'eth0' }], ips: [{ address: '10.1.0.9/24' }], dns: {} };

function env(command: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u';
  return { CNI_COMMAND: command, CNI_NETNS: '/run/netns/x', CNI_IFNAME: 'eth0', CNI_ARGS: args, ...more };
}

const conf = (more: object = {}): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'pods', type: 'mesh-cni', prevResult, ...more });
const annotated = (annotations: object | null): string =>
  conf({ runtimeConfig: { 'io.kubernetes.cri.pod-annotations': annotations } });

/** A node that remembers what was written where. */
function fakeNode(more: Partial<Node> = {}) {
  const written: [netns: string, skipped: SkippedPorts][] = [];
  const node: Node = {
    redirectOf: (request) => redirectOf(request, '/nowhere', () => undefined),
    write: (netns, skipped) => void written.push([netns, skipped]),
    has: () => true,
    ...more,
  };
  return { node, written };
}

async function call(command: string, stdin: string, node: Node, more: NodeJS.ProcessEnv = {}): Promise<string> {
  return handle(readRequest(env(command, more), stdin), node);
}

async function refusal(work: () => Promise<unknown>): Promise<CniError> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return error as CniError;
  }
  throw new Error('it was not refused');
}

describe('ADD', () => {
  test('of a pod without the annotation writes nothing and hands the result on as it came', async () => {
    const { node, written } = fakeNode();
    for (const annotations of [{}, null, { 'mesh.dev/inject': 'enabled' }])
      expect(JSON.parse(await call('ADD', annotated(annotations), node))).toEqual(prevResult);
    expect(written).toEqual([]);
  });

  test('of a meshed pod writes its rules, with the ports it leaves alone', async () => {
    const { node, written } = fakeNode();
    const redirect = 'cni;skip-inbound=22,9000-9010;skip-outbound=25';
    const output = await call('ADD', annotated({ 'mesh.dev/redirect': redirect }), node);
    expect(JSON.parse(output)).toEqual(prevResult);
    expect(written).toEqual([['/run/netns/x', { skipInbound: ['22', '9000-9010'], skipOutbound: ['25'] }]]);
  });

  test.each(supportedVersions)('hands on a result of version %s', async (cniVersion) => {
    const { node } = fakeNode();
    const before = { cniVersion, ip4: { ip: '10.1.0.9/24' } };
    expect(JSON.parse(await call('ADD', conf({ cniVersion, prevResult: before, runtimeConfig: {} }), node))).toEqual(
      before,
    );
  });

  test('of a meshed pod whose rules cannot be written fails, naming the pod and why', async () => {
    const { node } = fakeNode({
      write: () => {
        throw new Error('nft refused the rules: no such table');
      },
    });
    const error = await refusal(() => call('ADD', annotated({ 'mesh.dev/redirect': 'cni' }), node));
    expect(JSON.parse(errorOutput('1.0.0', error))).toEqual({
      cniVersion: '1.0.0',
      code: errorCode.rules,
      msg: 'mesh: the redirect rules of pod web-1 in namespace shop cannot be written: nft refused the rules: no such table',
    });
  });

  test.each([
    ['cni;skip-inbound=22 } drop', '"22 } drop" is not a port'],
    ['cni;skip-inbound=22 } drop; }', 'is neither skip-inbound=PORTS'],
    ['cni;skip-outbound=0', '"0" is not a port'],
    ['cni;skip=1', '"skip" is neither'],
    ['init', 'does not begin with cni'],
  ])('lets no annotation but ports into the rules: %s', async (redirect, why) => {
    const { node, written } = fakeNode();
    const error = await refusal(() => call('ADD', annotated({ 'mesh.dev/redirect': redirect }), node));
    expect(error.code).toBe(errorCode.annotation);
    expect(error.message).toContain(why);
    expect(written).toEqual([]);
  });

  test('without a result to hand on, or without a namespace to write in, is refused', async () => {
    const { node } = fakeNode();
    const alone = JSON.stringify({ cniVersion: '1.0.0', name: 'pods', type: 'mesh-cni' });
    expect((await refusal(() => call('ADD', alone, node))).code).toBe(errorCode.invalidConfig);
    const meshed = annotated({ 'mesh.dev/redirect': 'cni' });
    expect((await refusal(() => call('ADD', meshed, node, { CNI_NETNS: '' }))).code).toBe(errorCode.invalidEnvironment);
  });
});

test('CHECK passes where the rules are there or none belong, and fails where they are gone', async () => {
  const meshed = annotated({ 'mesh.dev/redirect': 'cni' });
  expect(await call('CHECK', meshed, fakeNode().node)).toBe('');
  expect(await call('CHECK', annotated({}), fakeNode({ has: () => false }).node)).toBe('');
  const error = await refusal(() => call('CHECK', meshed, fakeNode({ has: () => false }).node));
  expect(error.message).toBe('mesh: the redirect rules of pod web-1 in namespace shop are gone');
});

test.each(['DEL', 'GC', 'STATUS'])('%s succeeds without a word, for every pod', async (command) => {
  const { node, written } = fakeNode();
  expect(await call(command, conf({ prevResult: undefined }), node, { CNI_NETNS: '' })).toBe('');
  expect(written).toEqual([]);
});

test('VERSION says which versions there are, whichever is asked in', async () => {
  const output = await call('VERSION', '{"cniVersion":"0.2.0"}', fakeNode().node, { CNI_NETNS: '', CNI_ARGS: '' });
  expect(JSON.parse(output)).toEqual({ cniVersion: '0.2.0', supportedVersions });
});

test.each([
  ['a version before chaining', env('ADD'), conf({ cniVersion: '0.2.0' }), errorCode.incompatibleVersion],
  ['no version', env('ADD'), '{}', errorCode.incompatibleVersion],
  ['no JSON', env('ADD'), '{', errorCode.undecodable],
  ['no object', env('ADD'), '[]', errorCode.undecodable],
  ['no such command', env('MUL'), conf(), errorCode.invalidEnvironment],
])('%s is refused with a code of the specification', (_what, environment, stdin, code) => {
  expect(() => readRequest(environment, stdin)).toThrow(expect.objectContaining({ code }));
});

describe('a runtime that does not hand on annotations', () => {
  async function apiServer(answer: (path: string, token: string) => { status: number; body: object }) {
    const asked: string[] = [];
    const server = http.createServer((request, response) => {
      asked.push(request.url!);
      const { status, body } = answer(request.url!, request.headers.authorization!);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const folder = mkdtempSync(join(tmpdir(), 'mesh-cni-test-'));
    const file = join(folder, 'api.json');
    const { port } = server.address() as AddressInfo;
    writeFileSync(file, JSON.stringify({ server: `http://127.0.0.1:${port}`, ca: '', token: 'secret' }));
    onTestFinished(() => {
      server.close();
      rmSync(folder, { recursive: true });
    });
    return { file, asked, close: () => server.close() };
  }
  const podWith = (annotations: object) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-1', annotations },
  });
  const ask = (file: string, warnings: string[] = []) =>
    redirectOf(readRequest(env('ADD'), conf()), file, (why) => warnings.push(why));

  test('has the API server asked for this one pod, with the token of the agent', async () => {
    const { file, asked } = await apiServer((_path, token) =>
      token === 'Bearer secret'
        ? { status: 200, body: podWith({ 'mesh.dev/redirect': 'cni' }) }
        : { status: 401, body: {} },
    );
    expect(await ask(file)).toBe('cni');
    expect(asked).toEqual(['/api/v1/namespaces/shop/pods/web-1']);
  });

  test.each([
    ['refuses', 403],
    ['fails', 500],
  ])('lets the pod pass where the API server %s, and says why', async (_what, status) => {
    const { file } = await apiServer(() => ({ status, body: { message: 'no' } }));
    const warnings: string[] = [];
    expect(await ask(file, warnings)).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining('pod shop/web-1 cannot be asked for its annotations')]);
  });

  test('lets the pod pass where the API server is away, or nobody says where it is', async () => {
    const { file, close } = await apiServer(() => ({ status: 200, body: {} }));
    close();
    const warnings: string[] = [];
    expect(await ask(file, warnings)).toBeUndefined();
    expect(await ask('/nowhere/api.json', warnings)).toBeUndefined();
    expect(warnings).toHaveLength(2);
  });

  test('asks nothing about what is no pod', async () => {
    const request = readRequest(env('ADD', { CNI_ARGS: '' }), conf());
    expect(await redirectOf(request, '/nowhere', () => expect.unreachable())).toBeUndefined();
  });
});
