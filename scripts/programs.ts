/** Programs the mesh and its tests need from the system, and how they get here: by the package manager, where we may. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';

/** Program → its Debian package. */
export const runtimePrograms = {
  nft: 'nftables',
  ip: 'iproute2',
  unshare: 'util-linux',

  hostname: 'hostname',
};
export const testPrograms = {
  curl: 'curl',
  wrk: 'wrk',
  nginx: 'nginx-light',
  haproxy: 'haproxy',
  'redis-server': 'redis-server',
  tcpdump: 'tcpdump',
  python3: 'python3',
  'redis-cli': 'redis-tools',
  pg_ctlcluster: 'postgresql',
  psql: 'postgresql-client',
  mariadbd: 'mariadb-server-core',
  mariadb: 'mariadb-client-core',
  h2load: 'nghttp2-client',
  // A local mesh without root, and an image to load.
  newuidmap: 'uidmap',
  useradd: 'passwd',
  busybox: 'busybox-static',
  script: 'bsdutils',
};

const places = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'];

export function found(program: string): boolean {
  return places.some((place) => existsSync(path.join(place, program)));
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Installs what is missing by apt-get where this is root on Debian's kin; else names what to install and how.
 * @throws Error naming the programs that are still missing
 */
export async function ensurePrograms(programs: Record<string, string>): Promise<void> {
  const missing = Object.keys(programs).filter((program) => !found(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => programs[program]!))];
  const byHand = `install ${missing.join(', ')} (Debian, Ubuntu: apt-get install ${packages.join(' ')})`;
  if (process.getuid?.() !== 0 || !found('apt-get')) throw new Error(`missing programs: ${byHand}`);
  say(`installing ${packages.join(', ')} with apt-get, for ${missing.join(', ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await execa('apt-get', ['update', '-qq'], { env });
  await execa('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
  const still = missing.filter((program) => !found(program));
  if (still.length > 0) throw new Error(`still missing after apt-get: ${still.join(', ')}; ${byHand}`);
}
