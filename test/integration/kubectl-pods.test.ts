/** A real kubectl against real pods of a local mesh: what goes over streams. Needs root. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unable } from '../support/ground.ts';
import { findKubectl } from '../support/kubectl.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until, workload } from '../support/mesh.ts';

const { program: kubectl, missing } = unable ? { program: '', missing: unable } : await findKubectl();

const server = `
import http from 'node:http';
import { readFileSync } from 'node:fs';
http.createServer((request, response) => {
  response.end(request.url === '/' ? 'hello' : readFileSync(request.url));
}).listen(8080, () => console.log('listening'));
setInterval(() => console.log('tick ' + Date.now()), 200);
`;

describe.skipIf(missing)(`with ${kubectl || missing}`, () => {
  let mesh: LocalMesh;
  let folder: string;
  let pod: string;

  const start = (args: string[], input = '', env: Record<string, string> = {}) =>
    execa(
      kubectl,
      ['--kubeconfig', join(mesh.home, 'state/kubeconfig'), '--cache-dir', join(folder, 'cache'), ...args],
      {
        env: { HOME: folder, KUBECONFIG: '', ...env },
        input,
        reject: false,
        timeout: 30_000,
      },
    );
  const run = async (...args: string[]): Promise<string> => {
    const { stdout, stderr, exitCode } = await start(args);
    expect(`${exitCode} ${stderr}`).toMatch(/^0/);
    return stdout;
  };

  beforeAll(async () => {
    mesh = await LocalMesh.install();
    folder = mkdtempSync(join(tmpdir(), 'mesh-kubectl-'));
    const command = [process.execPath, '--input-type=module', '-e', server];
    await mesh.apply(workload('web', command, { port: 8080 }), false);
    pod = (await mesh.ready('web'))[0]!.metadata.name!;
  });
  afterAll(async () => {
    if (folder) rmSync(folder, { recursive: true });
    expect(await mesh?.uninstall()).toEqual([]);
  });

  /** The local port of a forward that has begun. */
  async function forwarded(child: ReturnType<typeof start>): Promise<number> {
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk));
    return until('the forward', () => Number(/127\.0\.0\.1:(\d+)/.exec(said)?.[1]) || undefined);
  }

  describe.each([
    ['SPDY in a WebSocket', 'true'],
    ['SPDY alone', 'false'],
  ])('port-forward over %s', (_, websockets) => {
    test('carries many connections at once, whole', async () => {
      const large = randomBytes(3_000_000);
      writeFileSync(join(folder, 'large'), large);
      await run('cp', join(folder, 'large'), `${pod}:/tmp/large`);
      const child = start(['port-forward', 'svc/web', ':8080'], '', { KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets });
      const port = await forwarded(child);
      const bodies = await Promise.all(
        Array.from({ length: 6 }, async (_, index) => {
          const answer = await fetch(`http://127.0.0.1:${port}${index === 0 ? '/' : '/tmp/large'}`);
          return Buffer.from(await answer.arrayBuffer());
        }),
      );
      expect(bodies[0]!.toString()).toBe('hello');
      for (const body of bodies.slice(1)) expect(body.equals(large)).toBe(true);
      child.kill();
      await child;
    });

    test('says which port of which pod refused', async () => {
      const child = start(['port-forward', pod, ':9'], '', { KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets });
      const port = await forwarded(child);
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
      expect((await child).stderr).toContain(`error forwarding port 9 to pod default/${pod}: connection refused`);
    });
  });

  test('cp brings a file there and back', async () => {
    writeFileSync(join(folder, 'there'), 'some text\n');
    await run('cp', join(folder, 'there'), `${pod}:/tmp/copied`);
    await run('cp', `${pod}:/tmp/copied`, join(folder, 'back'));
    expect(readFileSync(join(folder, 'back'), 'utf8')).toBe('some text\n');
  });

  test('exec passes input, both outputs and the exit code', async () => {
    const { stdout, stderr, exitCode } = await start(
      ['exec', '-i', pod, '--', 'sh', '-c', 'cat; echo problem >&2; exit 7'],
      'typed',
    );
    expect([stdout, exitCode]).toEqual(['typed', 7]);
    expect(stderr).toContain('problem');
  });

  test('exec -t has a terminal of the size of the caller’s, where Ctrl-C reaches the program', async () => {
    const shell = [kubectl, '--kubeconfig', join(mesh.home, 'state/kubeconfig'), 'exec', '-it', pod, '--', 'sh'];
    const child = execa('script', ['-qec', `stty cols 91 rows 33; ${shell.join(' ')}`, '/dev/null'], {
      env: { HOME: folder, KUBECONFIG: '' },
      reject: false,
      timeout: 30_000,
    });
    let screen = '';
    child.stdout.on('data', (chunk: Buffer) => (screen += chunk));
    const shows = (text: string) => until(text, () => screen.includes(text));
    await shows('# ');
    child.stdin.write('stty size; echo first-$((1+1))\n');
    await shows('first-2');
    expect(screen).toContain('33 91');
    child.stdin.write('echo begun-$((1+1)); sleep 1000\n');
    await shows('begun-2');
    child.stdin.write('\x03');
    child.stdin.write('echo after-$((1+1))\n');
    await shows('after-2');
    child.stdin.write('exit 5\n');
    expect((await child).exitCode).toBe(5);
  });

  test('logs of the last seconds, of so many bytes, and of no earlier run', async () => {
    const times = await until('older lines', async () => {
      const [all, recent] = await Promise.all([run('logs', pod), run('logs', pod, '--since=2s')]);
      return recent.split('\n').length < all.split('\n').length - 5 && recent.split('\n');
    });
    expect(times.length).toBeGreaterThan(2);
    expect(times.join()).not.toContain('listening');
    expect(await run('logs', pod, '--limit-bytes=6')).toBe('listen');
    const { stderr } = await start(['logs', pod, '--previous']);
    expect(stderr).toContain(`previous terminated container "main" in pod "${pod}" not found`);
  });

  test('attach shows what comes from now on, and says that there is no input', async () => {
    const child = start(['attach', pod]);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk));
    await until('a line', () => said.includes('tick'));
    expect(said).not.toContain('listening');
    child.kill();
    await child;
    expect((await start(['attach', '-i', pod])).stderr).toContain('use exec to run a program');
  });
});
