import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { docsBase } from './errors.ts';
import { runMesh } from './test-screen.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'mesh-cli-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

/** One command, with a home of its own: no kubeconfig, no local mesh. */
function mesh(args: string[], options: { terminal?: boolean; env?: Record<string, string> } = {}) {
  return runMesh(args, {
    ...options,
    env: { HOME: home, MESH_HOME: join(home, 'mesh'), LANG: 'C.UTF-8', ...options.env },
  });
}

function kubeconfig(config: object): void {
  mkdirSync(join(home, '.kube'), { recursive: true });
  writeFileSync(join(home, '.kube/config'), JSON.stringify(config));
}

describe('a command line used wrongly', () => {
  it.each([
    [['instal'], 'install'],
    [['check', '--prox'], '--proxy'],
    [['stat', 'deploy', '-o', 'jsn'], 'json'],
    [['check', '-o', 'shrt'], 'short'],
    [['stat', 'deplyo'], 'deploy'],
    [['completion', 'bsh'], 'bash'],
    [['help', 'exit-code'], 'exit-codes'],
    [['help', 'chek'], 'check'],
    [['-n', 'shop', 'stat', 'deploy', '--time-windw', '5m'], '--time-window'],
    [['stat', 'deploy', '--to', 'svcs/cart'], 'svc'],
    [['stat', 'deploy', '--namespce', 'shop'], '--namespace'],
    [['install', '-o', 'yml'], 'yaml'],
    [['version', '-o', 'jsn'], 'json'],
  ])('%j exits 2 and suggests %s', async (args, wanted) => {
    const { code, out, err } = await mesh(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(new RegExp(`[Dd]id you mean ${wanted}\\?`));
    expect(err.trimEnd().split('\n')).toHaveLength(2);
  });
});

it.each([
  [['--trace-ratio', '0.1'], 'Pass --otlp-endpoint too'],
  [['--otlp-endpoint', 'collector:4318'], 'http://collector.observability:4318'],
  [['--otlp-endpoint', 'http://user:secret@collector:4318'], 'without credentials'],
  [['--otlp-endpoint', 'http://collector:4318', '--trace-ratio', '10%'], 'a number from 0 to 1'],
])('install %j exits 2 and says %s', async (args, wanted) => {
  const { code, out, err } = await mesh(['install', ...args, '-o', 'yaml']);
  expect([code, out]).toEqual([2, '']);
  expect(err).toContain(wanted);
});

it('install tells the control plane where traces go', async () => {
  const { out } = await mesh(['install', '--otlp-endpoint', 'http://otel:4318', '--trace-ratio', '0.5', '-o', 'yaml']);
  expect(out).toContain('- name: MESH_CONTROL_OTLP_ENDPOINT\n              value: http://otel:4318\n');
  expect(out).toContain('- name: MESH_CONTROL_TRACE_RATIO\n              value: "0.5"\n');
});

it('takes --no-color for a command line that cannot be parsed too', async () => {
  expect((await mesh(['check', '--nope'], { terminal: true })).err).toContain('\x1b[31m');
  expect((await mesh(['check', '--nope', '--no-color'], { terminal: true })).err).not.toContain('\x1b');
});

describe('errors', () => {
  it('are one JSON object on stderr with -o json', async () => {
    const { code, out, err } = await mesh(['stat', 'deploy', '-o', 'json']);
    expect([code, out]).toEqual([4, '']);
    const { error } = JSON.parse(err);
    expect(error.code).toBe('local-mesh-not-running');
    expect(error.docs).toBe(`${docsBase}/errors#local-mesh-not-running`);
    expect(error.hint).toContain('mesh install');
  });

  const cluster = {
    apiVersion: 'v1',
    kind: 'Config',
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    clusters: [{ name: 'x', cluster: { server: 'https://127.0.0.1:1' } }],
    users: [{ name: 'x', user: {} }],
  };

  it('name the configured cluster that is away, also where its kubeconfig is JSON', async () => {
    kubeconfig({ ...cluster, 'current-context': 'x' });
    const { code, err } = await mesh(['stat', 'deploy']);
    expect(code).toBe(4);
    expect(err).toContain('errors#cluster-unreachable');
  });

  it('refuse a kubeconfig with clusters and no current context', async () => {
    kubeconfig(cluster);
    const { code, err } = await mesh(['stat', 'deploy']);
    expect(code).toBe(4);
    expect(err).toContain('errors#kubeconfig-invalid');
  });

  it('take an empty kubeconfig for none', async () => {
    kubeconfig({ apiVersion: 'v1', kind: 'Config', clusters: [], contexts: [] });
    expect((await mesh(['stat', 'deploy'])).err).toContain('errors#local-mesh-not-running');
  });

  it('of check are its first result; what depends on it is skipped', async () => {
    kubeconfig({ ...cluster, 'current-context': 'x' });
    const { code, out } = await mesh(['check', '-o', 'json']);
    expect(code).toBe(3);
    const { success, categories } = JSON.parse(out);
    const results = categories.flatMap((one: { checks: { result: string }[] }) =>
      one.checks.map((each) => each.result),
    );
    expect(success).toBe(false);
    expect(results[0]).toBe('error');
    expect(new Set(results.slice(1))).toEqual(new Set(['skipped']));
  });

  it.each([
    [{ terminal: true }, true],
    [{ terminal: true, env: { NO_COLOR: '1' } }, false],
    [{ terminal: true, env: { TERM: 'dumb' } }, false],
    [{}, false],
    [{ env: { FORCE_COLOR: '1' } }, true],
    [{ env: { FORCE_COLOR: '1', NO_COLOR: '1' } }, false],
  ])('with %j have colour: %s', async (options, colour) => {
    expect((await mesh(['stat', 'deploy'], options)).err.includes('\x1b[')).toBe(colour);
  });
});
