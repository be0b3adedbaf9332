/** What the local mesh keeps when its processes are killed, and how it refuses to start half. Needs root. */
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { searchPath } from '../../local/preflight.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until, workload } from '../support/mesh.ts';

const mesh = join(import.meta.dirname, '../../bin/mesh');

function pidOf(home: string, name: string): number {
  return (JSON.parse(readFileSync(join(home, 'run', `${name}.json`), 'utf8')) as { pid: number }).pid;
}

/** Processes whose command line names a folder. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false; // ended while it was looked at
    }
  });
}

describe.skipIf(unable)('objects, pods and services of a local mesh', () => {
  let local: LocalMesh;
  beforeAll(async () => {
    local = await LocalMesh.install();
    const serve = `import http from 'node:http'; http.createServer((_, answer) => answer.end('ok')).listen(8080)`;
    const command = [process.execPath, '--input-type=module', '-e', serve];
    const sleep = workload('client', ['sleep', '100000']);
    await local.apply(`${workload('web', command, { port: 8080, replicas: 2 })}\n---\n${sleep}`, false);
    await local.ready('web', 2);
    await local.ready('client');
  });
  afterAll(async () => expect(await local?.uninstall()).toEqual([]));

  const configMap = (name: string, n: number): KubeObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default' },
    data: { n: String(n) },
  });

  /** Writes without end; what the server has said yes to is in `acknowledged`, in its order. */
  function keepWriting(round: number) {
    const acknowledged: { name: string; n: number; version: number }[] = [];
    let going = true;
    const done = (async () => {
      for (let n = 0; going; n++) {
        try {
          const object = configMap(`round-${round}-${n % 20}`, n);
          const stored = await local.client.apply(object, { fieldManager: 'test', force: true });
          acknowledged.push({ name: object.metadata.name!, n, version: Number(stored.metadata.resourceVersion) });
        } catch (error) {
          // Cut off by the kill: whether it was written is unknown, and it was not acknowledged.
          if (!(error instanceof KubeError)) throw error;
          await wait(20);
        }
      }
    })();
    const stop = (): Promise<void> => {
      going = false;
      return done;
    };
    return { acknowledged, stop };
  }

  async function pods(): Promise<string[]> {
    const list = await local.client.list(resources.pods, { namespace: 'default' });
    return list
      .map(
        (pod) =>
          `${pod.metadata.uid} ${JSON.stringify(pod.status.containerStatuses?.map((one: KubeObject) => one.containerID))}`,
      )
      .sort();
  }

  it.each([1, 2, 3, 4])('survive SIGKILL at any moment, round %i', async (round) => {
    const before = await pods();
    const client = (await local.pods('client'))[0]!;
    const informer = local.client.informer(resources.configMaps, { namespace: 'default' });
    await informer.synced;
    // Traffic between pods goes on through all of it.
    const traffic = local.exec(
      client,
      'bash',
      '-c',
      'for i in {1..60}; do curl -sS --noproxy "*" -m 5 -o /dev/null http://web:8080 || echo FAILED; sleep 0.05; done',
    );
    const writer = keepWriting(round);
    await until('some writes', () => writer.acknowledged.length > 5);
    await wait(randomInt(200));
    const withSupervisor = round % 2 === 0;
    const [daemon, supervisor] = [pidOf(local.home, 'daemon'), pidOf(local.home, 'supervisor')];
    if (withSupervisor) process.kill(supervisor, 'SIGKILL');
    process.kill(daemon, 'SIGKILL');
    if (withSupervisor) {
      const said = await execa(mesh, ['stat', 'deploy'], {
        env: { ...process.env, MESH_HOME: local.home, KUBECONFIG: '' },
        reject: false,
      });
      expect(said.exitCode).not.toBe(0);
      expect(said.stderr).toContain('Run `mesh install` to start the local mesh');
      await local.mesh(['install']);
    }
    const known = writer.acknowledged.length;
    await until('writes after the restart', () => writer.acknowledged.length > known + 5);
    await writer.stop();

    const versions = writer.acknowledged.map((one) => one.version);
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    const last = new Map(writer.acknowledged.map((one) => [one.name, one]));
    for (const { name, n, version } of last.values()) {
      const stored = await local.client.get(resources.configMaps, name, 'default');
      expect(Number(stored.data.n)).toBeGreaterThanOrEqual(n);
      expect(Number(stored.metadata.resourceVersion)).toBeGreaterThanOrEqual(version);
    }
    // A watch that was cut off goes on, or lists anew: either way it knows all there is.
    const stored = await local.client.list(resources.configMaps, { namespace: 'default' });
    const wanted = stored.map((one) => `${one.metadata.name} ${one.metadata.resourceVersion}`).sort();
    await until('the informer has caught up', () => {
      const seen = informer.list().map((one) => `${one.metadata.name} ${one.metadata.resourceVersion}`);
      return JSON.stringify(seen.sort()) === JSON.stringify(wanted);
    });
    informer.stop();
    expect(await pods()).toEqual(before);
    expect(await traffic).toBe('');
  });
});

describe.skipIf(unable)('a start of the local mesh', () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'mesh-start-'));
  });
  afterEach(async () => {
    await execa(mesh, ['uninstall', '--yes', '--force'], { env: environment(), reject: false });
    rmSync(home, { recursive: true, force: true });
    expect(processesOf(home)).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(home);
  });

  const environment = (extra: Record<string, string> = {}) => ({
    PATH: process.env.PATH ?? '',
    HOME: home,
    MESH_HOME: home,
    KUBECONFIG: '',
    ...extra,
  });
  const run = (...[program, ...args]: [string, ...string[]]) =>
    execa(program, args, { env: environment(), extendEnv: false, reject: false });
  const install = () => run(mesh, 'install');

  /** The one sentence, the way out, exit code 1, and nothing that goes on. */
  async function refuses(sentence: RegExp, fix: RegExp, running = install()): Promise<void> {
    const { exitCode, stderr } = await running;
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(fix);
    expect(stderr).not.toContain('#internal');
    expect(processesOf(home)).toEqual([]);
  }

  it('from a state of a newer version is refused, and the state kept', async () => {
    const file = join(home, 'state/objects.db');
    mkdirSync(join(home, 'state'));
    const database = new DatabaseSync(file);
    database.exec(
      'CREATE TABLE objects (type TEXT, key TEXT, body TEXT); CREATE TABLE meta (name TEXT, value TEXT); PRAGMA user_version = 7',
    );
    database.close();
    const before = readFileSync(file);
    await refuses(/written by a newer mesh \(schema 7/, /Use that version of mesh/);
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  it('from a state that is cut off is refused; after the move that the fix names it begins anew', async () => {
    expect((await install()).exitCode).toBe(0);
    process.kill(pidOf(home, 'supervisor'), 'SIGKILL');
    const file = join(home, 'state/objects.db');
    await until('the daemon is gone', () => processesOf(`${home}/state/image/opt/mesh/daemon.js`).length === 0);
    for (const name of ['objects.db-wal', 'objects.db-shm']) rmSync(join(home, 'state', name), { force: true });
    writeFileSync(file, readFileSync(file).subarray(0, 5000));
    const { exitCode, stderr } = await install();
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/The state file .* cannot be read/);
    expect(readFileSync(file).length).toBe(5000);
    const [, command] = /run `mesh install`: (.*)/.exec(stderr) ?? [];
    await execa('sh', ['-ec', command!]);
    expect((await install()).exitCode).toBe(0);
    expect(existsSync(join(home, 'state/broken/objects.db'))).toBe(true);
  });

  it.each([
    ['a file system that is read-only', 'ro', /cannot write to its folder/, /MESH_HOME/],
    ['a file system that is too small', 'size=1m', /no space left/, /Free some space/],
  ])('on %s is refused and leaves nothing', async (_, options, sentence, fix) => {
    await execa('mount', ['-t', 'tmpfs', '-o', options, 'mesh-test', home]);
    try {
      await refuses(sentence, fix);
      expect(readdirSync(home)).toEqual([]);
    } finally {
      await execa('umount', [home]);
    }
  });

  it.each([
    ['nft', 'nftables'],
    ['ip', 'iproute2'],
  ])('without %s names its package and leaves nothing', async (program, name) => {
    const places = searchPath()
      .split(delimiter)
      .map((folder) => join(folder, program));
    // Seen from a mount namespace of its own, the program is a file that cannot be run.
    const hide = places.filter((place) => existsSync(place)).map((place) => `mount --bind /dev/null ${place}`);
    const line = [...hide, `exec ${mesh} install`].join('\n');
    const without = run('unshare', '--mount', '--', 'sh', '-ec', line);
    await refuses(new RegExp(`The program ${program} is not installed`), new RegExp(name), without);
    expect(readdirSync(home)).toEqual([]);
  });

  it('as a user without ids for its pods names what is missing and leaves nothing', async () => {
    const own = join(home, 'open');
    mkdirSync(own, { mode: 0o777 });
    const args = ['--reuid=65534', '--regid=65534', '--clear-groups', mesh, 'install'];
    const { exitCode, stderr } = await execa('setpriv', args, { env: environment({ MESH_HOME: own }), reject: false });
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/Without root|has no range of \d+ ids/)]);
    expect(readdirSync(own)).toEqual([]);
  });

  it('twice at once starts one mesh, and the other command says who is at it', async () => {
    const answers = await Promise.all([install(), install()]);
    expect(answers.map((one) => one.exitCode).sort()).toEqual([0, 1]);
    expect(answers.find((one) => one.exitCode === 1)!.stderr).toMatch(/Another mesh command \(process \d+\)/);
    expect(processesOf(`${home}/state/image/opt/mesh/supervisor.js`)).toHaveLength(1);
    expect(processesOf(`${home}/state/image/opt/mesh/daemon.js`)).toHaveLength(1);
  });

  it('after the machine went down begins from what was stored, whatever the run folder says', async () => {
    expect((await install()).exitCode).toBe(0);
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'one' },
      spec: { containers: [{ name: 'main', image: 'x', command: ['sleep', '1000'] }] },
    };
    await execa(mesh, ['apply', '-f', '-'], { env: environment(), input: JSON.stringify(pod) });
    const kept = mkdtempSync(join(tmpdir(), 'mesh-kept-'));
    await until('the pod runs', async () => (await logOf('one')) !== undefined);
    // What a power cut leaves: both folders as they were, and not one process.
    process.kill(pidOf(home, 'supervisor'), 'SIGKILL');
    await until('the daemon is gone', () => processesOf(`${home}/state/image/opt/mesh/daemon.js`).length === 0);
    await execa('cp', ['-a', join(home, 'run'), join(home, 'state'), kept]);
    await execa(mesh, ['uninstall', '--yes', '--force'], { env: environment() });
    expect(processesOf(home)).toEqual([]);
    await execa('cp', ['-a', `${kept}/.`, home]);
    rmSync(kept, { recursive: true });
    const { exitCode, stderr } = await install();
    expect(`${exitCode} ${stderr}`).toMatch(/^0/);
    await until('the pod runs again', async () => (await logOf('one')) !== undefined);
  });

  /** The log of a pod's container, once the container is there. */
  async function logOf(name: string): Promise<string | undefined> {
    const { exitCode, stdout } = await execa(mesh, ['logs', name, '--container', 'main'], {
      env: environment(),
      reject: false,
    });
    return exitCode === 0 ? stdout : undefined;
  }
});
