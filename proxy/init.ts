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

const rules = redirectRules({
  skipInbound: ports('MESH_INIT_SKIP_INBOUND_PORTS'),
  skipOutbound: ports('MESH_INIT_SKIP_OUTBOUND_PORTS'),
});
const result = spawnSync('nft', ['-f', '-'], {
  input: rules,
  encoding: 'utf8',
  env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
});
if (result.error) fail(`cannot run nft (${result.error.message}); the image or machine needs the package nftables`);
if (result.status !== 0) {
  const denied = /not permitted|permission/i.test(result.stderr);
  fail(
    denied
      ? 'not allowed to write nft rules; the container needs the capability NET_ADMIN'
      : `nft refused the rules: ${result.stderr.trim()}`,
  );
}
process.stderr.write('mesh-init: redirect rules are in place\n');
