/** The main thread of work as an ordinary user: a local mesh in a user namespace, from install to uninstall. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { createConfiguredClient } from '../../kube/configured.ts';
import { resources } from '../../kube/resources.ts';
import { localPreflight } from '../../local/preflight.ts';
import { subordinateRanges } from '../../local/user-namespace.ts';
import { unable } from '../support/ground.ts';
import { busyboxFiles, ociArchive, tar } from '../support/image-archive.ts';
import { nodeCommand, type PodObject, until, workload } from '../support/mesh.ts';

const user = 'mesh-test-user';
const root = join(import.meta.dirname, '../..');
const secret = 'a-string-nobody-else-may-read';
const echo = `
import { createServer } from 'node:http';
createServer((request, response) => request.pipe(response)).listen(8000);`;
const asking = `
import { request } from 'node:http';
setInterval(() => request('http://echo:8000/', { method: 'POST' }, (response) => response.resume()).on('error', () => {}).end('${secret}'), 50);`;

/** Of this machine, as far as root can tell: whether a user namespace can be made at all. */
const limited =
  unable ??
  ((await execa('unshare', ['--user', '--', 'true'], { reject: false })).failed
    ? 'this machine allows no user namespaces'
    : undefined);
if (limited && !unable) process.stderr.write(`tests of the local mesh without root skipped: ${limited}\n`);

describe.skipIf(limited)('the local mesh without root', () => {
  let folder: string;
  let home: string;
  let made = false;
  const mounted = `/srv/mesh-rootless-${process.pid}`;
  let client: KubeClient | undefined;
  let ids: { own: number; first: number; count: number };

  beforeAll(async () => {
    // Where the user can read it, wherever this copy of the project lies.
    folder = mkdtempSync(join(tmpdir(), 'mesh-rootless-'));
    chmodSync(folder, 0o755);
    for (const part of ['bin', 'dist']) cpSync(join(root, part), join(folder, part), { recursive: true });
    copyFileSync(process.execPath, join(folder, 'node'), constants.COPYFILE_FICLONE);
    chmodSync(join(folder, 'node'), 0o755);
    // A folder of this machine with a mount in it.
    mkdirSync(join(mounted, 'inner'), { recursive: true });
    mkdirSync(join(folder, 'other'));
    writeFileSync(join(mounted, 'beside'), 'beside\n');
    writeFileSync(join(folder, 'other/file'), 'mounted\n');
    await execa('mount', ['--bind', join(folder, 'other'), join(mounted, 'inner')]);
    made = (await execa('id', [user], { reject: false })).failed;
    if (made) await execa('useradd', ['--create-home', '--home-dir', `/home/${user}`, '--shell', '/bin/sh', user]);
    home = (await execa('getent', ['passwd', user])).stdout.split(':')[5]!;
    const own = Number((await execa('id', ['-u', user])).stdout);
    const [range] = subordinateRanges(readFileSync('/etc/subuid', 'utf8'), { name: user, uid: own });
    ids = { own, ...range! };
  });

  afterAll(async () => {
    spawnSync('umount', [join(mounted, 'inner')]);
    rmSync(mounted, { recursive: true, force: true });
    client?.close();
    await mesh(['uninstall', '--yes', '--force']).catch(() => {});
    if (made) await execa('userdel', ['--remove', user]);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the command line as the user would: no rights, a short PATH. */
  async function mesh(args: string[], input: string | Uint8Array = ''): Promise<string> {
    const env = ['PATH=/usr/bin:/bin', `HOME=${home}`, `USER=${user}`, `MESH_NODE=${folder}/node`, 'LANG=C.UTF-8'];
    const as = [`--reuid=${user}`, `--regid=${user}`, '--init-groups', '--'];
    return (
      await execa('setpriv', [...as, 'env', '-i', ...env, join(folder, 'bin/mesh'), ...args], { input, cwd: '/' })
    ).stdout;
  }

  const state = (): string => join(home, '.local/share/mesh');

  /** Programs of the user and of the users below it. */
  function processes(): string[] {
    return readdirSync('/proc').flatMap((pid) => {
      if (!/^\d+$/.test(pid)) return [];
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
        const mine = uid === ids.own || (uid >= ids.first && uid < ids.first + ids.count);
        return mine && !/^State:\s+Z/m.test(status) ? [`${pid} ${/^Name:\s+(.*)/m.exec(status)?.[1]}`] : [];
      } catch {
        return []; // It ended meanwhile.
      }
    });
  }

  async function readyPod(app: string): Promise<PodObject> {
    const find = { namespace: 'default', labelSelector: `app=${app}` };
    return until(`a ready pod of ${app}`, async () =>
      (await client!.list<PodObject>(resources.pods, find)).find((pod) =>
        pod.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
      ),
    );
  }

  const holder = (pod: PodObject): string => {
    const text = readFileSync(join(state(), 'run/pods', pod.metadata.uid!, 'sandbox.json'), 'utf8');
    return String((JSON.parse(text) as { holder: { pid: number } }).holder.pid);
  };

  it('passes the checks before an install', async () => {
    const { success, categories } = JSON.parse(await mesh(['check', '--pre', '-o', 'json']));
    expect(success).toBe(true);
    const checks = categories[0].checks.map((one: { description: string }) => one.description).join('\n');
    for (const good of [/running without root/, /newuidmap and newgidmap/, /has subordinate ids/])
      expect(checks).toMatch(good);
    // As root none of these is asked for.
    expect((await localPreflight()).map((one) => one.id)).not.toContain('no-subids');
  });

  it('installs, and all checks pass', async () => {
    await mesh(['install']);
    const files = [join(state(), 'kubeconfig')];
    client = await createConfiguredClient({ files, timeoutMs: 10_000, local: true });
    expect(JSON.parse(await mesh(['check', '-o', 'json'])).success).toBe(true);
  });

  it('carries traffic of meshed workloads, encrypted, and counts it', async () => {
    const manifest = [workload('echo', nodeCommand(echo), { port: 8000 }), workload('client', nodeCommand(asking))];
    const command = (text: string): string => text.replaceAll(process.execPath, '/opt/mesh/node');
    await mesh(['apply', '-f', '-'], await mesh(['inject', '-'], command(manifest.join('\n---\n'))));
    const server = await readyPod('echo');
    const asker = await readyPod('client');
    await until('successful requests in mesh stat', async () => {
      const { items } = JSON.parse(await mesh(['stat', 'deploy', '-o', 'json']));
      const found = items.find((one: { name: string }) => one.name === 'echo');
      return found?.success === 1 && found.requests_per_second > 1;
    });
    const [open, closed] = [await captured(server, 'lo', 8000), await captured(asker, 'eth0', 15008)];
    expect(closed.length).toBeGreaterThan(1000);
    expect(closed).not.toContain(secret);
    // The same capture where the proxy hands the request to its application shows it.
    expect(open).toContain(secret);
  });

  /** What passes an interface of a pod, until there are a few packets. */
  async function captured(pod: PodObject, device: string, port: number): Promise<string> {
    const dump = ['tcpdump', '-i', device, '-n', '-s', '0', '-U', '-c', '20', '-w', '-', 'tcp', 'port', String(port)];
    const child = spawn('nsenter', ['-t', holder(pod), '-n', '--', ...dump], {
      timeout: 20_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let packets = '';
    child.stdout.on('data', (chunk: Buffer) => {
      packets += chunk.toString('latin1');
    });
    await new Promise((resolve) => child.once('close', resolve));
    return packets;
  }

  it('runs proxy and application as different users of the user namespace', async () => {
    const pod = await readyPod('echo');
    const uidOf = (container: string): number => {
      const folder = join(state(), 'run/pods', pod.metadata.uid!, 'containers', container);
      const pid = Number.parseInt(readFileSync(join(folder, '1.pid'), 'utf8'), 10);
      return Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    };
    expect(uidOf('main')).toBe(ids.own);
    expect(uidOf('mesh-proxy')).toBe(ids.first + 2101);
  });

  it('publishes a service on 127.0.0.1, and says why a port of root’s cannot be', async () => {
    const service = (name: string, port: number): object => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { type: 'LoadBalancer', selector: { app: 'echo' }, ports: [{ port, targetPort: 8000 }] },
    });
    await mesh(
      ['apply', '-f', '-'],
      [service('open', 28_411), service('low', 811)].map((one) => JSON.stringify(one)).join('\n---\n'),
    );
    const answer = await until('an answer on 127.0.0.1', () =>
      fetch('http://127.0.0.1:28411/', { method: 'POST', body: secret }).then(
        (response) => response.text(),
        () => undefined,
      ),
    );
    expect(answer).toBe(secret);
    const event = await until('the event', async () =>
      (await client!.list(resources.events, { namespace: 'default' })).find((one) => one.involvedObject.name === 'low'),
    );
    expect(event.message).toContain('port 811 of 127.0.0.1 is for root only');
  });

  it('shows the machine’s files to a pod, mounts among them, and lets it change none', async () => {
    const script = `cat ${mounted}/beside ${mounted}/inner/file; echo changed > ${mounted}/new && ls ${mounted}; touch /etc/new /var/log/new /run/new && echo wrote`;
    const containers = [{ name: 'main', image: 'none', command: ['sh', '-c', script] }];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'files' },
      spec: { restartPolicy: 'Never', containers },
    };
    await mesh(['apply', '-f', '-'], JSON.stringify(pod));
    await until(
      'the pod has ended',
      async () => (await client!.get(resources.pods, 'files', 'default')).status?.phase === 'Succeeded',
    );
    const lines = (await mesh(['logs', 'pod/files'])).split('\n').map((line) => line.replace(/^main: */, ''));
    expect(lines).toEqual(['beside', 'mounted', 'beside', 'inner', 'new', 'wrote']);
    expect(['/etc/new', '/var/log/new', '/run/new', `${mounted}/new`].filter((path) => existsSync(path))).toEqual([]);
  });

  it('runs a pod in an image, with the image’s users, and what its layers delete hidden', async () => {
    const lower = tar([
      ...busyboxFiles(),
      { name: 'etc/passwd', content: 'web:x:1500:1600::/data:/bin/sh\n' },
      { name: 'data', type: 'folder', uid: 1500, gid: 1600, mode: 0o750 },
      { name: 'data/gone', content: '', uid: 1500 },
      { name: 'full/old', content: '' },
      { name: 'far', content: '', uid: 70_000, gid: 70_000 },
    ]);
    const upper = tar([{ name: 'data/.wh.gone' }, { name: 'full/.wh..wh..opq' }, { name: 'full/new', content: '' }]);
    const config = { User: 'web', WorkingDir: '/data', Env: ['PATH=/bin'] };
    const archive = ociArchive([{ layers: [lower, upper], config, name: 'tools:1', compression: 'gzip' }]);
    expect(await mesh(['image', 'load', '-'], archive)).toBe('image/tools:1 loaded');
    const command = [
      'sh',
      '-c',
      'id -u; touch mine && ls -n; ls -n / | while read m l u g r; do case $r in *far) echo $u;; esac; done; ls /full',
    ];
    const containers = [{ name: 'main', image: 'tools:1', command }];
    await mesh(
      ['apply', '-f', '-'],
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'inside' },
        spec: { restartPolicy: 'Never', containers },
      }),
    );
    await until(
      'the pod has ended',
      async () => (await client!.get(resources.pods, 'inside', 'default')).status?.phase === 'Succeeded',
    );
    const [uid, , mine, far, ...full] = (await mesh(['logs', 'pod/inside']))
      .split('\n')
      .map((line) => line.replace(/^main: */, ''));
    expect(uid).toBe('1500');
    expect(mine).toMatch(/ 1500 +1600 .* mine$/);
    // Not among this user's ids.
    expect(far).toBe('65534');
    expect(full).toEqual(['new']);
    expect(await mesh(['image', 'rm', 'tools:1']).catch((error: { stderr: string }) => error.stderr)).toContain(
      'removed',
    );
    expect(readdirSync(join(state(), 'images/layers'))).toEqual([]);
  });

  it('comes back with its pods when supervisor and daemon were killed', async () => {
    const before = await readyPod('echo');
    for (const name of ['supervisor', 'daemon']) {
      const { pid } = JSON.parse(readFileSync(join(state(), `run/${name}.json`), 'utf8')) as { pid: number };
      process.kill(pid, 'SIGKILL');
    }
    await mesh(['install']);
    const after = await readyPod('echo');
    expect(after.metadata.uid).toBe(before.metadata.uid);
    expect(after.status.podIP).toBe(before.status.podIP);
    expect(JSON.parse(await mesh(['check', '--proxy', '-o', 'json'])).success).toBe(true);
  });

  it('leaves no process, file or mount behind', async () => {
    expect(processes()).not.toEqual([]);
    // Files of a pod's own user, in a folder of that user, are not the user's to remove.
    const folder = join(state(), 'volumes/left');
    const owner = ['-o', String(ids.first + 2101), '-g', String(ids.first + 2101)];
    await execa('install', ['-d', '-m', '700', ...owner, folder]);
    await execa('install', ['-m', '600', ...owner, '/dev/null', join(folder, 'file')]);
    // Those of root are not its user namespace's either.
    const foreign = join(state(), 'volumes/foreign');
    mkdirSync(foreign, { mode: 0o700 });
    writeFileSync(join(foreign, 'file'), '');
    await expect(mesh(['uninstall', '--yes', '--force'])).rejects.toThrow('not-removed');
    rmSync(foreign, { recursive: true });
    await mesh(['uninstall', '--yes', '--force']);
    await until('no process is left', () => processes().length === 0, 5);
    expect(existsSync(state())).toBe(false);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(home);
  });
});
