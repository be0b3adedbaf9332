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

const given = {
  skipInbound: ports('MESH_INIT_SKIP_INBOUND_PORTS'),
  skipOutbound: ports('MESH_INIT_SKIP_OUTBOUND_PORTS'),
};

function apply(listeningOnly: boolean): { status: number | null; stderr: string } {
  const result = spawnSync('nft', ['-f', '-'], {
    input: redirectRules({ ...given, listeningOnly }),
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
  });
  if (result.error) fail(`cannot run nft (${result.error.message}); the image or machine needs the package nftables`);
  return result;
}

let result = apply(true);
// ENOENT is how a kernel says that it lacks an expression.
if (result.status !== 0 && /No such file or directory|not supported/i.test(result.stderr)) {
  result = apply(false);
  if (result.status === 0)
    process.stderr.write('mesh-init: this kernel lacks nft_socket: TCP probes of closed ports will succeed\n');
}
if (result.status !== 0) {
  const denied = /not permitted|permission/i.test(result.stderr);
  fail(
    denied
      ? 'not allowed to write nft rules; the container needs the capability NET_ADMIN'
      : `nft refused the rules: ${result.stderr.trim()}`,
  );
}
process.stderr.write('mesh-init: redirect rules are in place\n');
