/** The command line as a user types it: the real binary, a real local mesh, real pipes and terminals. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual, stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectGolden, transcript } from '../../cli/test-screen.ts';
import {
  bin,
  environment,
  Folders,
  interruptOnTerminal,
  type RunOptions,
  root,
  run as runIn,
  type Seen,
  where,
} from '../support/cli.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until, workload } from '../support/mesh.ts';

const clearScreen = '\x1b[2J';
const toTop = '\x1b[H';

describe.skipIf(unable)('the command line', () => {
  let mesh: LocalMesh;
  let env: Record<string, string>;
  let late: Promise<Seen>;
  let lateHome: string;
  const folders = new Folders();

  /** Runs the binary against the mesh of these tests. */
  const run = (args: string[], options: RunOptions = {}) =>
    runIn(args, { ...options, env: { ...env, ...options.env } });

  /** Runs a shell line in which `mesh` is the binary. */
  const bash = (line: string) =>
    run(['-c', `set -o pipefail; mesh() { ${bin} "$@"; }; ${line}`], { command: ['bash'] });

  /** Runs the binary on a terminal of its own, 100 columns wide. */
  const terminal = (line: string) =>
    run(['-qec', `stty cols 100 rows 30; ${bin} ${line}`, '/dev/null'], { command: ['script'] });

  /** Starts a mesh whose daemon never gets ready; that takes its time, which the other tests use. */
  function startLate(): Promise<Seen> {
    lateHome = folders.make();
    // The daemon, which is entered with its mounts too, is never there; all else goes on.
    const nsenter = `case "$*" in *daemon.js*) exec sleep 45 ;; *) exec ${where('nsenter')} "$@" ;; esac`;
    const PATH = `${folders.programs([], { nsenter })}:${process.env.PATH}`;
    return runIn(['install'], { env: { ...environment(lateHome), PATH } });
  }

  beforeAll(async () => {
    late = startLate();
    mesh = await LocalMesh.install();
    env = environment(mesh.home);
    await mesh.apply(workload('web', ['/usr/bin/python3', '-m', 'http.server', '8000'], { port: 8000 }), true);
    await mesh.apply(workload('lone', ['sleep', 'infinity']), false);
    await mesh.ready('web');
    await mesh.ready('lone');
  });
  afterAll(async () => {
    await folders.remove();
    expect((await mesh?.uninstall()) ?? []).toEqual([]);
  });

  test('a second install changes nothing and says so; its manifest is what it applies', async () => {
    const { code, out } = await run(['install']);
    expect([code, out]).toEqual([0, expect.stringMatching(/^mesh is already installed \(\S+\); nothing to change\n$/)]);
    const manifest = await run(['install', '-o', 'yaml']);
    expect([manifest.code, manifest.err]).toEqual([0, '']);
    const again = await run(['apply', '--dry-run', '-f', '-'], { input: manifest.out });
    expect(again.out.trimEnd().split('\n')).toHaveLength(10);
    for (const line of again.out.trimEnd().split('\n')) expect(line).toMatch(/^\S+ unchanged \(dry run\)$/);
  });

  test('check is all green, for people and for programs', async () => {
    const table = await run(['check', '--proxy']);
    expect(table, table.out).toMatchObject({ code: 0, err: '' });
    expect(table.out).not.toMatch(/[‼✗␛\r]/u);
    const json = await run(['check', '--proxy', '-o', 'json']);
    const report = JSON.parse(json.out) as { success: boolean; categories: { checks: { result: string }[] }[] };
    expect(report.success).toBe(true);
    expect(new Set(report.categories.flatMap(({ checks }) => checks.map(({ result }) => result)))).toEqual(
      new Set(['success']),
    );
  });

  test('check finds a pod that should be meshed and an annotation that has no effect', async () => {
    const wrong = { metadata: { annotations: { 'mesh.dev/inject': 'enabled' } } };
    const { resources } = await import('../../kube/resources.ts');
    await mesh.client.patch(resources.deployments, 'lone', 'default', wrong);
    const { code, out } = await run(['check', '--proxy', '-o', 'short']);
    expect(code).toBe(0);
    expect(out).toContain('deployment/lone in namespace default: mesh.dev/inject has no effect there');
  });

  test('a control plane that crashes is named with what it said, and a second install heals it', async () => {
    const bad = ['--control-env', 'MESH_CONTROL_CERTIFICATE_LIFETIME=never'];
    const broken = await run(['install', '--wait', '3s', ...bad]);
    expect(broken.code).toBe(5);
    expect(broken.err).toMatch(/deploy\/mesh-control in namespace mesh-system is not ready after 3s \(--wait\): \S/);
    await until('a crash with its last line', async () =>
      (await run(['check', '--wait', '0'])).out.includes(
        'MESH_CONTROL_CERTIFICATE_LIFETIME: "never" is not a duration',
      ),
    );
    expect((await run(['install'])).code).toBe(0);
    await until('green again', async () => (await run(['check', '--proxy'])).code === 0);
  });

  test('stat shows meshed and unmeshed workloads, and refuses names that do not exist', async () => {
    const { out } = await run(['stat', 'deploy', '-A']);
    expect(
      new Set(
        out
          .trimEnd()
          .split('\n')
          .map((line) => line.split(/ +/).length),
      ).size,
    ).toBe(1);
    expect(out).toMatch(/^default +lone +0\/1 /m);
    expect(out).toMatch(/^default +web +1\/1 /m);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect((await run(['stat', 'deploy/wep'])).err).toContain('(did you mean web?)');
    expect((await run(['stat', 'deploy', '-n', 'defualt'])).err).toContain('(did you mean default?)');
    expect((await run(['stat', 'deploy', '-l', 'app=web', '-o', 'name'])).out).toBe('');
    expect(JSON.parse((await run(['stat', 'job', '-o', 'json'])).out).items).toEqual([]);
  });

  test('stat --watch appends blocks in a pipe, and Ctrl-C ends it', async () => {
    const child = spawn(bin, ['stat', 'deploy', '--watch'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    await until('two blocks', () => out.match(/^NAME/gm)?.length === 2);
    expect(out).not.toContain('\x1b');
    const code = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await code).toBe(130);
  });

  test('stat --watch draws in place on a terminal', async () => {
    const frames = (screen: string) => screen.split(toTop).length - 1;
    const screen = await interruptOnTerminal(`${bin} stat deploy --watch`, env, (seen) => frames(seen) >= 2);
    expect(screen.split(clearScreen)).toHaveLength(2);
    expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
  });

  test('flags may stand anywhere, and win over the environment', async () => {
    const other = { MESH_NAMESPACE: 'mesh-system' };
    expect((await run(['stat', 'deploy', '-o', 'name'], { env: other })).out).toBe('deploy/mesh-control\n');
    const forms = [
      ['-n', 'default', '-o', 'name', 'stat', 'deploy'],
      ['stat', '--namespace=default', 'deploy', '--output=name'],
      ['stat', 'deploy', '-ndefault', '-oname'],
      ['stat', '-o', 'name', '-n', 'default', '--', 'deploy'],
    ];
    for (const args of forms) {
      expect((await run(args, { env: other })).out, args.join(' ')).toBe('deploy/lone\ndeploy/web\n');
    }
  });

  test('logs of a pod, a workload and the control plane; whoever stops reading is no error', async () => {
    expect((await run(['logs', 'control', '--tail', '1'])).out.trimEnd().split('\n')).toHaveLength(1);
    expect((await run(['logs', 'deploy/web', '-c', 'mesh-proxy', '--since', '1h'])).out).toContain('control plane');
    expect((await run(['logs', 'deploy/web', '-c', 'mesh-prxy'])).err).toContain('(did you mean mesh-proxy?)');
    expect(await bash('mesh logs control | head -1 > /dev/null')).toMatchObject({ code: 0, err: '' });
    expect(await bash('mesh check | head -1')).toMatchObject({ code: 0, err: '' });
    // Each frame is written to a reader that is gone after the first line.
    expect(await bash('mesh stat deploy --watch | head -1 > /dev/null')).toMatchObject({ code: 0, err: '' });
  });

  test('apply and delete take several files, folders and stdin, and say what they did', async () => {
    const home = folders.make();
    mkdirSync(join(home, 'maps'));
    const map = (name: string) => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
    writeFileSync(join(home, 'maps/a.json'), map('a'));
    writeFileSync(join(home, 'maps/b.yaml'), map('b'));
    writeFileSync(join(home, 'c.yaml'), map('c'));
    const files = ['-f', join(home, 'maps'), '-f', join(home, 'c.yaml')];
    const lines = (verb: string, names: string) => [...names].map((name) => `configmap/${name} ${verb}\n`).join('');
    expect((await run(['apply', ...files])).out).toBe(lines('created', 'abc'));
    expect((await run(['apply', '-f', '-'], { input: map('a') })).out).toBe(lines('unchanged', 'a'));
    expect((await run(['delete', ...files])).out).toBe(lines('deleted', 'cba'));
    expect(await run(['delete', ...files])).toMatchObject({ code: 0, out: '' });
  });

  test('a terminal shows colour and the next command, a pipe neither', async () => {
    const shown = await terminal('check');
    expect(shown.out).toContain('\x1b[32m✓\x1b[0m');
    expect(shown.out).toContain('Next: mesh inject');
    expect((await terminal('check --no-color')).out).not.toContain('\x1b[3');
    const piped = await run(['check']);
    expect(piped.out + piped.err).toBe(stripVTControlCharacters(piped.out));
    expect(piped.err).toBe('');
    expect((await run(['check'], { env: { FORCE_COLOR: '1' } })).out).toContain('\x1b[32m✓');
    expect((await run(['check'], { env: { LANG: 'C' } })).out).toMatch(/^[\n -~]*$/);
  });

  test('a terminal has its cursor back after an install, also after one that is interrupted', async () => {
    const shown = (await terminal('install')).out;
    expect(shown).toContain('\x1b[?25l');
    expect(shown.lastIndexOf('\x1b[?25h')).toBeGreaterThan(shown.lastIndexOf('\x1b[?25l'));
    const home = folders.make();
    const begun = () => existsSync(join(home, 'run/supervisor.json'));
    const cut = await interruptOnTerminal(`${bin} install`, { ...env, MESH_HOME: home }, begun);
    expect(cut).toContain('Interrupted');
    expect(cut.lastIndexOf('\x1b[?25h')).toBeGreaterThan(cut.lastIndexOf('\x1b[?25l'));
  });

  test('an install that is interrupted takes down what it began', async () => {
    const home = folders.make();
    const child = spawn(bin, ['install'], { env: environment(home), stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const code = new Promise((resolve) => child.once('exit', resolve));
    await until('the start', () => existsSync(join(home, 'run/supervisor.json')));
    child.kill('SIGINT');
    expect(await code).toBe(130);
    expect(err).toContain('Interrupted; taking the local mesh down again. Ctrl-C again leaves it as it is.');
    expect(existsSync(join(home, 'state')) || existsSync(join(home, 'run'))).toBe(false);
  });

  test('a terminal without a width gets plain lines', async () => {
    const { code, out } = await run(['-qec', `stty cols 0 rows 0; ${bin} install`, '/dev/null'], {
      command: ['script'],
    });
    expect(code).toBe(0);
    expect(out).toContain(' • Applying 10 objects ...');
    expect(out).not.toContain('\x1b[?25l');
  });

  test('what waits for a server is interrupted at once', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await until('a port', () => silent.address() !== null);
    const { port } = silent.address() as { port: number };
    const config = join(folders.make(), 'config');
    const cluster = { server: `https://127.0.0.1:${port}` };
    const parts = { clusters: [{ name: 'x', cluster }], users: [{ name: 'x', user: {} }] };
    const contexts = [{ name: 'x', context: { cluster: 'x', user: 'x' } }];
    writeFileSync(config, JSON.stringify({ ...parts, contexts, 'current-context': 'x' }));
    const late = await run(['stat', 'deploy', '--kubeconfig', config, '--request-timeout', '1500ms']);
    expect(late.code).toBe(4);
    expect(late.err).toContain(`• Waiting for the API server of "x" (https://127.0.0.1:${port}) ...`);
    expect(late.err).toContain('no answer within 1.5 s');
    const child = spawn(bin, ['stat', 'deploy', '--kubeconfig', config], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    await until('what it waits for', () => err.includes('Waiting for the API server'));
    const began = performance.now();
    const code = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await code).toBe(130);
    expect(performance.now() - began).toBeLessThan(5_000);
    silent.close();
  });

  test('uninstall asks, needs --yes where it cannot, and refuses while pods are meshed', async () => {
    const unasked = await run(['uninstall']);
    expect([unasked.code, unasked.out]).toEqual([2, '']);
    expect(unasked.err).toMatch(/This removes:\n {2}the local mesh .*\n.*\n {2}fix: Pass --yes --force\.\n/);
    const refused = await run(['uninstall', '--yes']);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('1 pod has a proxy: deployment/web in namespace default');
    expect((await run(['check'])).code).toBe(0);
  });

  test('--debug shows requests and no secret, --quiet nothing but errors', async () => {
    const { err } = await run(['stat', 'deploy', '--debug']);
    expect(err).toMatch(/^GET \/version 200 in \d+ ms$/m);
    expect(err).toMatch(/^port-forward to mesh-system\/mesh-control-\S+ port \d+ open$/m);
    expect(err).not.toMatch(/bearer|authorization|BEGIN/i);
    expect((await run(['install', '-q'])).err).toBe('');
    expect((await run(['stat', 'deploy/nosuch', '-q'])).err).toContain('There is no deployment nosuch');
  });

  test('completion knows commands, flags, values and what the cluster has', async () => {
    const complete = async (line: string): Promise<string[]> => {
      const words = line.split(' ');
      const array = words.map((word) => `"${word}"`).join(' ');
      const script = `PATH=${join(root, 'bin')}:$PATH; source <(mesh completion bash); COMP_WORDS=(${array}); COMP_CWORD=${words.length - 1}; _mesh; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { out } = await run(['-c', script], { command: ['bash'] });
      return out.trimEnd().split('\n').sort();
    };
    const cases: Record<string, string[]> = {
      'mesh in': ['inject', 'install'],
      'mesh check --pr': ['--pre', '--proxy'],
      'mesh check -o j': ['json'],
      'mesh stat deploy --output = w': ['wide'],
      'mesh stat deploy/': ['deploy/lone', 'deploy/web'],
      'mesh stat deploy/ -n mesh-s': ['mesh-system'],
      'mesh -n mesh-system stat deploy m': ['mesh-control'],
      'mesh logs deploy/web -c mesh-p': ['mesh-proxy'],
      'mesh help ex': ['exit-codes'],
      'mesh completion f': ['fish'],
    };
    for (const [line, wanted] of Object.entries(cases)) {
      // Names that the cluster does not give within a second are left out, as on a machine that is busy.
      await until(`${wanted} for "${line}"`, async () => isDeepStrictEqual(await complete(line), wanted));
    }
  });

  test('it starts quickly', async () => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const began = performance.now();
      expect((await run(['version', '--client'])).code).toBe(0);
      times.push(performance.now() - began);
    }
    const median = times.sort((a, b) => a - b)[2]!;
    process.stderr.write(`mesh version --client: ${median.toFixed(0)} ms (median of 5)\n`);
    // Far more than a machine takes that does nothing else.
    expect(median).toBeLessThan(2_000);
  });

  test('JSON goes to stdout alone, and an error to stderr alone', async () => {
    expect(
      await bash(
        `mesh stat all -A -o json 2>/dev/null | ${process.execPath} -e 'JSON.parse(require("fs").readFileSync(0))'`,
      ),
    ).toMatchObject({ code: 0 });
    const failed = await run(['stat', 'deploy/nosuch', '-o', 'json']);
    expect([failed.code, failed.out]).toEqual([1, '']);
    expect(JSON.parse(failed.err).error).toMatchObject({
      code: 'not-found',
      docs: expect.stringContaining('#not-found'),
    });
    expect(JSON.parse((await run(['version', '-o', 'json'])).out)).toMatchObject({
      skew: 'none',
      proxies: [{ count: 1 }],
    });
  });

  test('a local mesh that does not get ready in time says so, and is taken down', async () => {
    const seen = await late;
    expect(seen.code).toBe(5);
    expectGolden('errors/start-timeout', transcript(['install'], seen, [[lateHome, 'HOME']]));
    expect(existsSync(join(lateHome, 'run/ready'))).toBe(false);
  });
});
