/** The init step of a pod: writes the redirect rules into the pod's network namespace, then exits. */
import { spawnSync } from 'node:child_process';
import { isPortRange, redirectRules } from './net/redirect-rules.ts';

function fail(message: string, code = 1): never {
  process.stderr.write(`mesh-init: ${message}\n`);
  process.exit(code);
}

function ports(variable: string): string[] {
  const parts = (process.env[variable] ?? '').split(',').map((part) => part.trim());
  const given = parts.filter((part) => part !== '');
  const bad = given.find((part) => !isPortRange(part));
  if (bad) fail(`${variable}: "${bad}" is not a port or a range such as 1000-2000`, 64);
  return given;
}

const skipInbound = ports('MESH_INIT_SKIP_INBOUND_PORTS');
const skipOutbound = ports('MESH_INIT_SKIP_OUTBOUND_PORTS');
const write = (listeningOnly: boolean) =>
  spawnSync('nft', ['-f', '-'], {
    input: redirectRules({ skipInbound, skipOutbound, listeningOnly }),
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
  });
const denied = (stderr: string) => /not permitted|permission/i.test(stderr);

let result = write(true);
if (!result.error && result.status !== 0 && !denied(result.stderr)) {
  const first = result.stderr.trim();
  result = write(false);
  if (result.status === 0)
    process.stderr.write(`mesh-init: TCP probes find the proxy's port open before the application's: ${first}\n`);
}
if (result.error) fail(`cannot run nft (${result.error.message}); the image or machine needs the package nftables`);
if (result.status !== 0) {
  fail(
    denied(result.stderr)
      ? 'not allowed to write nft rules; the container needs the capability NET_ADMIN'
      : `nft refused the rules: ${result.stderr.trim()}`,
  );
}
process.stderr.write('mesh-init: redirect rules are in place\n');
