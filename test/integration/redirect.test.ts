/** Redirect rules and original destinations in a pair of namespaces of their own. Needs root, nft and ip. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = process.getuid?.() === 0;
if (!root) process.stderr.write('redirect: skipped, network namespaces need root\n');
const client = `mesh-rd-c${process.pid}`;
const pod = `mesh-rd-p${process.pid}`;
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });
const project = resolve(import.meta.dirname, '../..');
const node = ['--disable-warning=ExperimentalWarning'];

/** With an application on port 8080, accepts one connection on a port in the pod's namespace and tells where it was meant to go. */
const listener = (port: number) => `
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { originalDestination } from ${JSON.stringify(`${project}/proxy/net/original-destination.ts`)};
const [namespace, host, target] = process.argv.slice(2);
createServer((socket) => socket.destroy()).listen(8080, '::');
const server = createServer((socket) => {
  process.stdout.write(String(originalDestination(socket)));
  process.exit(0);
});
server.listen(${port}, '::', () => {
  const script = \`require('net').connect(\${target}, '\${host}').on('error', (e) => { console.error(e.message); process.exit(1); })\`;
  spawn('ip', ['netns', 'exec', namespace, process.execPath, '-e', script], { stdio: 'inherit' }).on('exit', () =>
    process.exit(3),
  );
});
setTimeout(() => process.exit(2), 10_000);
`;

describe.skipIf(!root)('redirected connections', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-redirect-'));

  beforeAll(() => {
    for (const namespace of [client, pod]) ip('netns', 'add', namespace);
    ip('link', 'add', 'eth0', 'netns', pod, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client);
    for (const [namespace, last] of [
      [client, '1'],
      [pod, '2'],
    ] as const) {
      ip('-n', namespace, 'addr', 'add', `10.9.9.${last}/24`, 'dev', 'eth0');
      ip('-n', namespace, 'addr', 'add', `fd09::${last}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
      ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    }
    // Twice: running it again is safe.
    for (let i = 0; i < 2; i++) {
      execFileSync('ip', ['netns', 'exec', pod, process.execPath, ...node, `${project}/proxy/init.ts`], {
        stdio: 'pipe',
        env: { ...process.env, MESH_INIT_SKIP_INBOUND_PORTS: '4000-5000,4191' },
      });
    }
  });
  afterAll(() => {
    for (const namespace of [client, pod]) ip('netns', 'del', namespace);
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['inbound IPv4', 4143, client, '10.9.9.2', '10.9.9.2:8080'],
    ['inbound IPv6', 4143, client, 'fd09::2', '[fd09::2]:8080'],
    ['outbound IPv4', 4140, pod, '10.9.9.1', '10.9.9.1:8080'],
    ['outbound IPv6', 4140, pod, 'fd09::1', '[fd09::1]:8080'],
  ])('%s keeps its destination', (name, port, from, host, expected) => {
    const script = join(folder, `${name.replace(' ', '-')}.ts`);
    writeFileSync(script, listener(port));
    const out = execFileSync('ip', ['netns', 'exec', pod, process.execPath, ...node, script, from, host, '8080'], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(out).toBe(expected);
  });

  it.each(['10.9.9.2', 'fd09::2'])('a port of %s where no application listens is closed', (host) => {
    const script = join(folder, 'closed.ts');
    const dial = `import { connect } from 'node:net';
      connect(8081, '${host}').on('connect', () => process.stdout.write('open'))
        .on('error', (error) => process.stdout.write(error.code)).on('close', () => process.exit(0));`;
    writeFileSync(script, dial);
    // The proxy's own port is open all the while.
    const proxy = `require('net').createServer().listen(4143, '::', () => console.log('listening'))`;
    const pair = `ip netns exec ${pod} ${process.execPath} -e "${proxy}" | { read line; ip netns exec ${client} ${process.execPath} ${script}; kill 0; }`;
    const out = spawnSync('setsid', ['sh', '-c', pair], { encoding: 'utf8', timeout: 20_000 }).stdout;
    expect(out).toBe('ECONNREFUSED');
  });
});
