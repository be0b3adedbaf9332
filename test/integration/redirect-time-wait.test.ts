/** A connection that takes the place of one in TIME_WAIT goes through the proxy too. Needs root, nft and ip. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { redirectRules } from '../../proxy/net/redirect-rules.ts';

const root = process.getuid?.() === 0;
if (!root) process.stderr.write('redirect-time-wait: skipped, network namespaces need root\n');
const client = `mesh-tw-c${process.pid}`;
const pod = `mesh-tw-p${process.pid}`;
const run = (namespace: string, ...command: string[]) =>
  execFileSync('ip', ['netns', 'exec', namespace, ...command], { encoding: 'utf8', stdio: 'pipe' });

/** Says who took the connection, and closes first, which leaves TIME_WAIT on its side. */
const servers = `
import { createServer } from 'node:net';
for (const [port, name] of [[8080, 'application'], [4143, 'proxy']])
  createServer((socket) => socket.on('error', () => {}).end(name)).listen(port, () => console.log(name));`;
const dial = `
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
process.stdout.write(await text(connect({ host: '10.9.8.2', port: 8080, localPort: 5555 })));`;
const node = [process.execPath, '--input-type=module', '-e'] as const;

beforeAll(() => {
  if (!root) return;
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });
  for (const namespace of [client, pod]) ip('netns', 'add', namespace);
  ip('link', 'add', 'eth0', 'netns', pod, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client);
  for (const [namespace, last] of [
    [client, '1'],
    [pod, '2'],
  ] as const) {
    ip('-n', namespace, 'addr', 'add', `10.9.8.${last}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
  }
});
afterAll(() => {
  if (root) for (const namespace of [client, pod]) execFileSync('ip', ['netns', 'del', namespace]);
});

it.skipIf(!root)('a connection over one in TIME_WAIT is redirected', async () => {
  const server = spawn('ip', ['netns', 'exec', pod, ...node, servers], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let said = '';
    while (!said.includes('application') || !said.includes('proxy')) said += (await once(server.stdout, 'data'))[0];
    // Before there are rules: what is left of this one is at the application's port.
    expect(run(client, ...node, dial)).toBe('application');
    const rules = redirectRules({ skipInbound: [], skipOutbound: [], listeningOnly: true });
    execFileSync('ip', ['netns', 'exec', pod, 'nft', '-f', '-'], { input: rules });
    expect(run(client, ...node, dial)).toBe('proxy');
  } finally {
    server.kill();
  }
});
