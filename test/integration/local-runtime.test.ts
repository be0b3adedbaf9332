/** The local mesh from outside: real namespaces, real programs, its own API. Needs root and the bundles in dist/. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Json, KubeObject } from '../../kube/types.ts';
import { type LocalMeshError, localMeshStatus, localPaths, startLocalMesh, stopLocalMesh } from '../../local/launch.ts';

const run = promisify(execFile);
const root = process.getuid?.() === 0;
if (!root) process.stderr.write('local mesh skipped: needs root: network namespaces\n');

function freshHome(): ReturnType<typeof localPaths> {
  return localPaths({ MESH_HOME: mkdtempSync(join(tmpdir(), 'mesh-local-')) });
}

/** Every process that has a path of the local mesh in its arguments. */
function processesOf(home: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(home);
    } catch {
      return false;
    }
  });
}

async function until<T>(what: string, check: () => Promise<T | undefined | false>, seconds = 20): Promise<T> {
  for (const deadline = Date.now() + seconds * 1_000; Date.now() < deadline; await wait(50)) {
    const found = await check().catch(() => undefined);
    if (found) return found;
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

describe.skipIf(!root)('the local mesh', () => {
  const paths = freshHome();
  const pods = '/api/v1/namespaces/default/pods';

  function api(method: string, path: string, body?: object): Promise<{ status: number; text: string; json: Json }> {
    const config = parse(readFileSync(paths.kubeconfig, 'utf8'));
    const { server, 'certificate-authority-data': ca } = config.clusters[0].cluster;
    return new Promise((resolve, reject) => {
      const call = request(
        `${server}${path}`,
        {
          method,
          agent: false,
          ca: Buffer.from(ca, 'base64'),
          headers: { authorization: `Bearer ${config.users[0].user.token}`, 'content-type': 'application/json' },
        },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => {
            const json = response.headers['content-type']?.includes('json') ? JSON.parse(text) : undefined;
            resolve({ status: response.statusCode ?? 0, text, json });
          });
        },
      );
      call.on('error', reject);
      call.end(body && JSON.stringify(body));
    });
  }

  const pod = async (name: string): Promise<Json> => (await api('GET', `${pods}/${name}`)).json;
  const logs = async (name: string, container = 'main'): Promise<string> =>
    (await api('GET', `${pods}/${name}/log?container=${container}`)).text;
  const makePod = async (name: string, spec: object, labels: Record<string, string> = {}): Promise<void> => {
    const made = await api('POST', pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec });
    expect(made.status, made.text).toBe(201);
  };
  const main = (command: string[], more: object = {}): object => ({ name: 'main', image: 'none', command, ...more });
  const finished = (name: string): Promise<Json> =>
    until(`${name} has ended`, async () => {
      const found = await pod(name);
      return ['Succeeded', 'Failed'].includes(found.status?.phase) && found;
    });

  beforeAll(async () => {
    const begun = performance.now();
    await startLocalMesh(paths, () => {});
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
  afterAll(() => stopLocalMesh(paths, () => {}));

  it('says that it runs, and starts only once', async () => {
    expect(await localMeshStatus(paths)).toBe('running');
    expect(await startLocalMesh(paths, () => {})).toEqual({ kubeconfig: paths.kubeconfig, alreadyRunning: true });
  });

  it('runs init containers in order, then serves a program behind a service name', async () => {
    const volumeMounts = [{ name: 'data', mountPath: '/data' }];
    await makePod(
      'web',
      {
        terminationGracePeriodSeconds: 1,
        initContainers: [
          { name: 'one', image: 'none', command: ['sh', '-c', 'echo -n first > /data/index.html'], volumeMounts },
          { name: 'two', image: 'none', command: ['sh', '-c', 'echo -second >> /data/index.html'], volumeMounts },
        ],
        containers: [
          main(['/usr/bin/python3', '-m', 'http.server', '8000'], {
            workingDir: '/data',
            volumeMounts,
            readinessProbe: { httpGet: { port: 8000 }, periodSeconds: 1 },
          }),
        ],
        volumes: [{ name: 'data', emptyDir: {} }],
      },
      { app: 'web' },
    );
    const service: KubeObject = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8000 }] },
    };
    expect((await api('POST', '/api/v1/namespaces/default/services', service)).status).toBe(201);
    await until('web is ready', async () =>
      (await pod('web')).status.conditions.some((one: Json) => one.type === 'Ready' && one.status === 'True'),
    );
    await makePod('client', {
      restartPolicy: 'Never',
      containers: [
        main([
          'sh',
          '-c',
          'until curl -sS -m 2 http://web; do sleep 0.1; done; curl -sS -m 2 http://web.default.svc.cluster.local/',
        ]),
      ],
    });
    expect((await finished('client')).status.phase).toBe('Succeeded');
    expect((await logs('client')).trim().split('\n').slice(-2)).toEqual(['first-second', 'first-second']);
  });

  it('starts a program that fails again and again, and keeps its exit code', async () => {
    await makePod('crash', { containers: [main(['sh', '-c', 'echo out; exit 7'])] });
    const status = await until('a crash loop', async () => {
      const [found] = (await pod('crash')).status.containerStatuses;
      return found.state.waiting?.reason === 'CrashLoopBackOff' && found;
    });
    expect(status.lastState.terminated.exitCode).toBe(7);
    expect(status.restartCount).toBeGreaterThan(0);
  });

  it('ends a program that ignores SIGTERM when its grace is over, with 137', async () => {
    await makePod('stubborn', {
      restartPolicy: 'Never',
      activeDeadlineSeconds: 1,
      terminationGracePeriodSeconds: 1,
      containers: [main(['bash', '-c', 'trap "" TERM; while :; do sleep 1; done'])],
    });
    const { status } = await finished('stubborn');
    expect(status.reason).toBe('DeadlineExceeded');
    await until(
      'the exit code',
      async () => (await pod('stubborn')).status.containerStatuses[0].state.terminated?.exitCode === 137,
    );
  });

  it('says what to do about a container that has neither image nor command', async () => {
    await makePod('bare', { containers: [{ name: 'main', image: 'nginx:latest' }] });
    const event = await until('the event', async () =>
      (await api('GET', '/api/v1/namespaces/default/events')).json.items.find(
        (one: Json) => one.involvedObject.name === 'bare' && one.reason === 'Failed',
      ),
    );
    expect(event.message).toContain('names no command');
  });

  it('gives a container no rights beyond its security context', async () => {
    const securityContext = {
      runAsUser: 1234,
      runAsGroup: 1234,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    };
    await makePod('plain', {
      restartPolicy: 'Never',
      containers: [
        main(['sh', '-c', 'id -u; id -g; grep -E "CapBnd|NoNewPrivs" /proc/self/status; touch /x || echo read-only'], {
          securityContext,
        }),
      ],
    });
    await finished('plain');
    const said = await logs('plain');
    expect(said).toMatch(/^1234\n1234\n/);
    expect(said).toMatch(/CapBnd:\s+0000000000000000/);
    expect(said).toMatch(/NoNewPrivs:\s+1/);
    expect(said).toContain('read-only');
  });

  it('swaps the files of a changed ConfigMap while the pod runs', async () => {
    const maps = '/api/v1/namespaces/default/configmaps';
    await api('POST', maps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'settings' },
      data: { key: 'old' },
    });
    await makePod('reader', {
      terminationGracePeriodSeconds: 0,
      containers: [
        main(['sh', '-c', 'while :; do cat /settings/key; echo; sleep 0.1; done'], {
          volumeMounts: [{ name: 'settings', mountPath: '/settings' }],
        }),
      ],
      volumes: [{ name: 'settings', configMap: { name: 'settings' } }],
    });
    await until('the old value', async () => (await logs('reader')).includes('old'));
    const { json } = await api('GET', `${maps}/settings`);
    expect((await api('PUT', `${maps}/settings`, { ...json, data: { key: 'new' } })).status).toBe(200);
    await until('the new value', async () => (await logs('reader')).trimEnd().endsWith('new'));
  });

  it('keeps pods and their traffic when the daemon is killed', async () => {
    await makePod('loop', {
      terminationGracePeriodSeconds: 0,
      containers: [
        main([
          'bash',
          '-c',
          'for i in {1..200}; do curl -sS -m 5 -o /dev/null http://web || echo FAILED; sleep 0.02; done; echo done; sleep 1000',
        ]),
      ],
    });
    await until('the loop runs', async () => (await pod('loop')).status.containerStatuses?.[0].state.running);
    const before = await pod('web');
    const daemon = JSON.parse(readFileSync(join(paths.run, 'daemon.json'), 'utf8')) as { pid: number };
    process.kill(daemon.pid, 'SIGKILL');
    await until('the loop is done', async () => (await logs('loop')).includes('done'));
    expect(await logs('loop')).toBe('done\n');
    const after = await pod('web');
    expect(after.status.containerStatuses[0].restartCount).toBe(0);
    expect(after.status.containerStatuses[0].containerID).toBe(before.status.containerStatuses[0].containerID);
    const now = JSON.parse(readFileSync(join(paths.run, 'daemon.json'), 'utf8')) as { pid: number };
    expect(now.pid).not.toBe(daemon.pid);
  });

  it('leaves no process, mount or file behind, and no trace on the host’s network', async () => {
    expect((await run('ip', ['-o', 'link'])).stdout).not.toMatch(/pod\d/);
    await stopLocalMesh(paths, () => {});
    expect(existsSync(paths.state) || existsSync(paths.run)).toBe(false);
    expect(processesOf(paths.run)).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(paths.run);
    expect(await localMeshStatus(paths)).toBe('absent');
  });
});

describe.skipIf(!root)('a local mesh that was started', () => {
  it('holds no descriptor of whoever started it', async () => {
    const paths = freshHome();
    const home = join(paths.state, '..');
    const env = { ...process.env, MESH_HOME: home, HOME: home, KUBECONFIG: '' };
    const mesh = join(import.meta.dirname, '../../bin/mesh');
    // Far from the others: those next to them Node takes care of itself.
    const far = 'exec 200>&3 3>&-; exec "$0" install -q';
    const child = spawn('bash', ['-c', far, mesh], { env, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    let closed = false;
    // Comes when the last process that has the pipe is gone.
    child.once('close', () => {
      closed = true;
    });
    try {
      await until('its pipe is closed', async () => closed);
      expect(await localMeshStatus(paths)).toBe('running');
    } finally {
      await stopLocalMesh(paths, () => {});
    }
  });
});

describe.skipIf(!root)('a start of the local mesh that cannot succeed', () => {
  it('names a corrupt state file and leaves it as it is', async () => {
    const paths = freshHome();
    await run('mkdir', ['-p', paths.state]);
    const file = join(paths.state, 'objects.db');
    writeFileSync(file, 'this is no database');
    const error = (await startLocalMesh(paths, () => {}).catch((thrown) => thrown)) as LocalMeshError;
    expect(error.code).toBe('state-corrupt');
    expect(error.message).toContain(file);
    expect(readFileSync(file, 'utf8')).toBe('this is no database');
    expect(processesOf(paths.run)).toEqual([]);
    rmSync(join(paths.state, '..'), { recursive: true });
  });

  it('names the port that another process has taken', async () => {
    const paths = freshHome();
    await run('mkdir', ['-p', paths.state]);
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    writeFileSync(join(paths.state, 'port'), String(port));
    const error = (await startLocalMesh(paths, () => {}).catch((thrown) => thrown)) as LocalMeshError;
    other.close();
    expect(error.code).toBe('port-in-use');
    expect(error.message).toContain(String(port));
    await stopLocalMesh(paths, () => {});
    expect(existsSync(paths.state)).toBe(false);
  });

  it('is cleaned up by a stop when it was interrupted half way', async () => {
    const paths = freshHome();
    const program = `import { startLocalMesh } from ${JSON.stringify(join(import.meta.dirname, '../../local/launch.ts'))};
      await startLocalMesh(${JSON.stringify(paths)}, (step) => { if (step.startsWith('Making')) process.kill(process.pid, 'SIGKILL'); });`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'ignore' });
    await new Promise((resolve) => child.once('exit', resolve));
    await stopLocalMesh(paths, () => {});
    expect(existsSync(paths.run)).toBe(false);
    await until('nothing runs', async () => processesOf(paths.run).length === 0, 5);
  });
});
