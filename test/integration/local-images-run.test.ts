/** Pods that run in images, on a real local mesh. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { unable } from '../support/ground.ts';
import { busyboxFiles, dockerArchive, ociArchive, type TarEntry, tar } from '../support/image-archive.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until } from '../support/mesh.ts';

const users: TarEntry[] = [
  { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\nweb:x:1500:1600::/www:/bin/sh\n' },
  { name: 'etc/group', content: 'web:x:1600:\nextra:x:1700:web\n' },
  { name: 'www', type: 'folder', uid: 1500, gid: 1600 },
  { name: 'www/index.html', content: 'from the image\n', uid: 1500, gid: 1600 },
  { name: 'www/gone', content: 'gone\n' },
];

describe.skipIf(unable)('pods that run in images', () => {
  let mesh: LocalMesh;

  beforeAll(async () => {
    mesh = await LocalMesh.install();
    const lower = tar([...busyboxFiles(), ...users]);
    const upper = tar([{ name: 'www/.wh.gone' }, { name: 'www/second', content: 'second\n' }]);
    const config = {
      User: 'web',
      WorkingDir: '/www',
      Env: ['PATH=/bin', 'COLOR=blue'],
      Entrypoint: ['httpd', '-f', '-v', '-p'],
      Cmd: ['8000'],
      StopSignal: 'SIGQUIT',
    };
    const archive = ociArchive([{ layers: [lower, upper], config, name: 'shop/web:1.0', compression: 'zstd' }]);
    expect(await mesh.mesh(['image', 'load', '-'], archive)).toBe('image/shop/web:1.0 loaded');
    // Its lowest layer is the other image's too.
    const file = join(mesh.home, 'docker.tar');
    writeFileSync(file, dockerArchive({ layers: [lower], config: { Env: ['PATH=/bin'] }, tags: ['tools:1'] }));
    expect(await mesh.mesh(['image', 'load', file])).toBe('image/tools:1 loaded');
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  async function pod(name: string, container: object, more: object = {}): Promise<void> {
    const containers = [{ name: 'main', image: 'tools:1', ...container }];
    const spec = { restartPolicy: 'Never', terminationGracePeriodSeconds: 5, containers, ...more };
    await mesh.apply(
      JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec }),
      false,
    );
  }
  const get = (name: string): Promise<KubeObject> => mesh.client.get(resources.pods, name, 'default');
  const output = async (name: string): Promise<string> => {
    const ended = await until(`${name} has ended`, async () => {
      const found = await get(name);
      return ['Succeeded', 'Failed'].includes(found.status?.phase) && found;
    });
    return mesh.log(ended as never, 'main');
  };
  const event = (name: string, reason: string, about = ''): Promise<KubeObject> =>
    until(`event ${reason} of ${name}`, async () =>
      (await mesh.client.list(resources.events, { namespace: 'default' })).find(
        (one) => one.involvedObject.name === name && one.reason === reason && one.message.includes(about),
      ),
    );
  const refused = (args: string[]): Promise<string> =>
    mesh.mesh(args).then(
      () => 'it succeeded',
      (error: { stderr: string }) => error.stderr,
    );

  it('serves from the image what its entrypoint does, as its user, through the mesh', async () => {
    const labels = { app: 'web' };
    const readinessProbe = {
      exec: { command: ['sh', '-c', 'id -u > /tmp/probe && test -f second'] },
      periodSeconds: 1,
    };
    const spec = { containers: [{ name: 'main', image: 'shop/web:1.0', readinessProbe }] };
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    };
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8000 }] },
    };
    await mesh.apply([deployment, service].map((one) => JSON.stringify(one)).join('\n---\n'), true);
    const [web] = await mesh.ready('web');
    const status = (await get(web!.metadata.name!)).status.containerStatuses[0];
    expect(status.imageID).toMatch(/^sha256:/);
    expect(readFileSync(`/proc/${mesh.pid(web!)}/root/tmp/probe`, 'utf8')).toBe('1500\n');
    await pod('client', { command: ['wget', '-q', '-O', '-', 'http://web/second'] });
    expect(await output('client')).toBe('second\n');
    expect((await event(web!.metadata.name!, 'Pulled', 'shop/web:1.0')).message).toContain('present on machine');
  });

  it('gives a program the image’s user, groups, folder and environment', async () => {
    await pod('who', {
      image: 'shop/web:1.0',
      command: ['sh', '-c', 'id -u; id -g; id -G; pwd; echo $COLOR $HOME; ls'],
    });
    expect(await output('who')).toBe('1500\n1600\n1600 1700\n/www\nblue /www\nindex.html\nsecond\n');
  });

  it('lets the pod override user, command, folder and environment', async () => {
    const securityContext = { runAsUser: 4000, runAsGroup: 4001 };
    const env = [{ name: 'COLOR', value: 'red' }];
    const command = [
      'sh',
      '-c',
      'id -u; id -g; pwd; echo $COLOR; cat /proc/self/status | while read a b; do case $a in CapBnd:) echo $b;; esac; done',
    ];
    await pod('over', {
      image: 'shop/web:1.0',
      securityContext: { ...securityContext, capabilities: { drop: ['ALL'] } },
      env,
      workingDir: '/made/here',
      command,
    });
    expect(await output('over')).toBe('4000\n4001\n/made/here\nred\n0000000000000000\n');
  });

  it('runs arguments with the image’s entrypoint, and fails with 127 where there is no such program', async () => {
    await pod('args', { command: ['echo'], args: ['$(WORD)'], env: [{ name: 'WORD', value: 'hello' }] });
    expect(await output('args')).toBe('hello\n');
    await pod('nothing', { command: ['no-such-program'] });
    expect(await output('nothing')).toContain('no-such-program: not found in /bin');
    expect((await get('nothing')).status.containerStatuses[0].state.terminated.exitCode).toBe(127);
  });

  it('leaves the program no signal that is ignored and no descriptor of whoever started the mesh', async () => {
    await pod('plain', {
      command: [
        'sh',
        '-c',
        'cat /proc/self/status | while read a b; do case $a in SigIgn:) echo $b;; esac; done; (while :; do echo y; done; echo survived >&2) | true; ls /proc/self/fd',
      ],
    });
    const [ignored, ...open] = (await output('plain')).trim().split('\n');
    expect(ignored).toBe('0000000000000000');
    // 3 is the folder that ls reads.
    expect(open).toEqual(['0', '1', '2', '3']);
  });

  it('does not write through the links of an image that means harm', async () => {
    const bait = join(mesh.home, 'bait');
    mkdirSync(join(bait, 'dev'), { recursive: true });
    writeFileSync(join(bait, 'resolv.conf'), 'untouched');
    const links: TarEntry[] = ['etc', 'dev', 'proc', 'sys'].map((name) => ({
      name,
      type: 'symlink',
      target: name === 'dev' ? join(bait, 'dev') : bait,
    }));
    const archive = ociArchive([
      { layers: [tar([...busyboxFiles(), ...links])], name: 'evil:1', config: { Env: ['PATH=/bin'] } },
    ]);
    await mesh.mesh(['image', 'load', '-'], archive);
    const volumeMounts = [{ name: 'data', mountPath: '/etc/inner' }];
    await pod(
      'evil',
      { image: 'evil:1', command: ['sh', '-c', `ls ${bait}; echo > /etc/file; echo done`], volumeMounts },
      { volumes: [{ name: 'data', emptyDir: {} }] },
    );
    expect(await output('evil')).toContain('done');
    expect(readFileSync(join(bait, 'resolv.conf'), 'utf8')).toBe('untouched');
    expect(['file', 'inner', 'hosts', 'dev/null'].filter((name) => existsSync(join(bait, name)))).toEqual([]);
  });

  it('ends a program with the stop signal of its image', async () => {
    const folder = join(mesh.home, 'shared');
    mkdirSync(folder, { mode: 0o777 });
    const command = [
      'sh',
      '-c',
      'trap "echo quit > /shared/end; exit 0" QUIT; trap "echo term > /shared/end; exit 0" TERM; echo up > /shared/up; while :; do sleep 0.1; done',
    ];
    const security = { securityContext: { runAsUser: 0 } };
    await pod(
      'stops',
      { image: 'shop/web:1.0', command, ...security, volumeMounts: [{ name: 'shared', mountPath: '/shared' }] },
      { volumes: [{ name: 'shared', hostPath: { path: folder } }] },
    );
    await until('the program is up', () => existsSync(join(folder, 'up')));
    await mesh.client.delete(resources.pods, 'stops', 'default');
    await until('the program has ended', () => existsSync(join(folder, 'end')));
    expect(readFileSync(join(folder, 'end'), 'utf8')).toBe('quit\n');
  });

  it('says that Always cannot be held, and what to do', async () => {
    await pod('always', { image: 'tools:1', imagePullPolicy: 'Always', command: ['true'] });
    expect((await event('always', 'Failed')).message).toContain('set imagePullPolicy to IfNotPresent');
    expect((await get('always')).status.containerStatuses[0].state.waiting.reason).toBe('ErrImagePull');
  });

  it('refuses to run as root what must not, and an image whose user it does not know', async () => {
    await pod('root', { command: ['true'], securityContext: { runAsNonRoot: true } });
    expect((await event('root', 'Failed')).message).toContain('image will run as root');
    await mesh.mesh(
      ['image', 'load', '-'],
      ociArchive([{ layers: [tar(busyboxFiles())], name: 'who:1', config: { User: 'nobody-here' } }]),
    );
    await pod('unknown', { image: 'who:1', command: ['sh'] });
    expect((await event('unknown', 'Failed')).message).toContain('unable to find user nobody-here');
  });

  it('waits for an archive that comes slowly through a pipe', async () => {
    const archive = ociArchive([{ layers: [tar(busyboxFiles())], name: 'slow:1' }]);
    const env = { MESH_HOME: mesh.home, HOME: mesh.home, KUBECONFIG: '' };
    const loading = execa(join(import.meta.dirname, '../../bin/mesh'), ['image', 'load', '-'], { env });
    let said = '';
    loading.stderr.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    await until('it reads', () => said.includes('Loading stdin'));
    for (let at = 0; at < archive.length; at += 500_000) {
      loading.stdin.write(archive.subarray(at, at + 500_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    loading.stdin.end();
    expect((await loading).stdout).toBe('image/slow:1 loaded');
  });

  it('lists images, and removes only those that no pod runs', async () => {
    const { items } = JSON.parse(await mesh.mesh(['image', 'list', '-o', 'json']));
    const web = items.find((one: { names: string[] }) => one.names.includes('docker.io/shop/web:1.0'));
    expect(web).toMatchObject({ layers: 2, id: expect.stringMatching(/^sha256:/) });
    expect(web.size_bytes).toBeGreaterThan(1_000_000);
    expect(await mesh.mesh(['image', 'ls'])).toMatch(/^NAME +ID +SIZE +LOADED\n/);
    expect(await refused(['image', 'rm', 'evil:1', 'shop/web:1.0'])).toMatch(
      /Image shop\/web:1.0 is used by default\/web-/,
    );
    expect(await mesh.mesh(['image', 'list'])).toContain('evil:1');
    expect(await mesh.mesh(['image', 'rm', 'evil:1'])).toBe('image/evil:1 removed');
    expect(await refused(['image', 'rm', 'evil:1'])).toContain('No image evil:1 is loaded');
    expect(await mesh.mesh(['image', 'list'])).not.toContain('evil:1');
  });
});
