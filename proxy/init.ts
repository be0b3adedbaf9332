/** The init step of a pod: writes the redirect rules into the pod's network namespace, then exits. */
import { spawnSync } from 'node:child_process';
import { isPortRange } from './net/redirect-rules.ts';
import { RulesError, writeRules } from './net/write-rules.ts';

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

const skipped = {
  skipInbound: ports('MESH_INIT_SKIP_INBOUND_PORTS'),
  skipOutbound: ports('MESH_INIT_SKIP_OUTBOUND_PORTS'),
};
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
try {
  const early = writeRules((input) => spawnSync('nft', ['-f', '-'], { input, encoding: 'utf8', env }), skipped);
  if (early !== undefined)
    process.stderr.write(`mesh-init: TCP probes find the proxy's port open before the application's: ${early}\n`);
} catch (error) {
  if (!(error instanceof RulesError)) throw error;
  const { why, message } = error;
  if (why === 'denied') fail('not allowed to write nft rules; the container needs the capability NET_ADMIN');
  fail(why === 'missing' ? `${message}; the image or machine needs the package nftables` : message);
}
process.stderr.write('mesh-init: redirect rules are in place\n');
