/** Starting and ending the local mesh, as the CLI does it. Imports little: every command loads this file. */
import { execFile, spawn } from 'node:child_process';
import {
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { access, copyFile, link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { FromSupervisor } from './messages.ts';
import type { LocalPaths } from './paths.ts';
import { end, identify, isAlive, type ProcessIdentity, parseStat } from './process.ts';
import { endRecorded as endEveryRecorded } from './runtime/recorded.ts';

export { type LocalPaths, localPaths } from './paths.ts';

const run = promisify(execFile);
const startTimeout = 30_000;

/** A start or a stop that cannot go on; the CLI turns it into its own error. */
export class LocalMeshError extends Error {
  /** Stable; each has its section in docs/errors.md. */
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string) {
    super(message);
    this.name = 'LocalMeshError';
    this.code = code;
    this.fix = fix;
  }
}

export interface PreflightResult {
  id: string;
  ok: boolean;
  message: string;
  fix?: string;
}

/** Whether the local mesh runs; `stopped` where there is state (or a half-dead run) but no supervisor. */
export async function localMeshStatus(paths: LocalPaths): Promise<'running' | 'stopped' | 'absent'> {
  const supervisor = readIdentity(join(paths.run, 'supervisor.json'));
  if (supervisor && isAlive(supervisor)) return 'running';
  return existsSync(paths.state) || existsSync(join(paths.run, 'node.json')) ? 'stopped' : 'absent';
}

/** Starts the local mesh, or does nothing where it runs; resolves when its API answers. Throws LocalMeshError. */
export async function startLocalMesh(
  paths: LocalPaths,
  progress: (step: string) => void,
): Promise<{ kubeconfig: string; alreadyRunning: boolean }> {
  const problem = (await localPreflight()).find((check) => !check.ok);
  if (problem) throw new LocalMeshError(problem.id, problem.message, problem.fix ?? 'Run `mesh check --pre`.');
  const made = (await localMeshStatus(paths)) === 'absent';
  try {
    return await startLocked(paths, progress);
  } catch (error) {
    const refused = fileProblem(error, dirname(paths.state));
    // What could not be written whole is no state: the next start finds things as this one did.
    if (refused && made)
      for (const folder of [paths.state, paths.run]) rmSync(folder, { recursive: true, force: true });
    throw refused ?? error;
  }
}

/** What the file system refused, as an error of ours. */
function fileProblem(error: unknown, folder: string): LocalMeshError | undefined {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new LocalMeshError(
      'disk-full',
      `There is no space left for the local mesh in ${folder}; it needs about 200 MB.`,
      `Free some space there (df -h ${folder}), or set MESH_HOME to a folder that has it.`,
    );
  if (['EROFS', 'EACCES', 'EPERM', 'ENOTDIR', 'ENOENT', 'EIO'].includes(code ?? ''))
    return new LocalMeshError(
      'state-unwritable',
      `The local mesh cannot keep its files in ${folder}: ${message}.`,
      'Make it a folder that root can write to (not mounted read-only), or set MESH_HOME to one.',
    );
  return undefined;
}

function startLocked(
  paths: LocalPaths,
  progress: (step: string) => void,
): Promise<{ kubeconfig: string; alreadyRunning: boolean }> {
  return withLock(paths, async () => {
    if ((await localMeshStatus(paths)) === 'running' && existsSync(join(paths.run, 'ready'))) {
      return { kubeconfig: paths.kubeconfig, alreadyRunning: true };
    }
    mkdirSync(paths.state, { recursive: true, mode: 0o711 });
    progress('Preparing the programs');
    const programs = await installPrograms(paths.state);
    // An earlier supervisor may have died and left its daemon; a half-started one is in the way too.
    await endRecorded(paths, ['supervisor.json', 'daemon.json'], 3_000);
    try {
      await superviseUntilReady(paths, programs, progress);
    } catch (error) {
      await endRecorded(paths, ['supervisor.json', 'daemon.json'], 1_000);
      if (!existsSync(join(paths.run, 'pods'))) await endRecorded(paths, ['node.json'], 0);
      throw error;
    }
    return { kubeconfig: paths.kubeconfig, alreadyRunning: false };
  });
}

const steps: Record<string, string> = {
  network: 'Making a private network',
  api: 'Starting the API server',
};

function superviseUntilReady(paths: LocalPaths, programs: string, progress: (step: string) => void): Promise<void> {
  rmSync(join(paths.run, 'ready'), { force: true });
  const log = join(paths.run, 'daemon.log');
  const output = openSync(log, 'a', 0o640);
  const child = spawn(
    join(programs, 'node'),
    ['--disable-warning=ExperimentalWarning', join(programs, 'supervisor.js'), paths.state, paths.run],
    { detached: true, stdio: ['ignore', output, output, 'ipc'], cwd: '/' },
  );
  // Recorded before it can do anything, so that a stop finds it however early this process is interrupted.
  const own = child.pid === undefined ? undefined : identify(child.pid);
  if (own) writeFileSync(join(paths.run, 'supervisor.json'), JSON.stringify(own), { mode: 0o600 });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (code: string, message: string, fix: string): void => reject(new LocalMeshError(code, message, fix));
  const read = `Read ${log}.`;
  const timer = setTimeout(
    () => fail('start-timeout', 'The local mesh did not get ready within 30 s.', read),
    startTimeout,
  );
  child.once('error', (error) => fail('start-failed', `The local mesh did not start: ${error.message}.`, read));
  child.once('exit', (code, name) =>
    fail('start-failed', `The local mesh ended while it started (${name ?? code}).`, read),
  );
  child.on('message', (message: FromSupervisor) => {
    if (message.type === 'step') progress(steps[message.step] ?? message.step);
    else if (message.type === 'failed') fail(message.failure.code, message.failure.message, message.failure.fix);
    else resolve();
  });
  return promise.finally(() => {
    clearTimeout(timer);
    child.removeAllListeners();
    if (child.connected) child.disconnect();
    child.unref();
  });
}

/** Ends everything the local mesh has started on this machine and removes its folders. Safe to repeat. */
export async function stopLocalMesh(paths: LocalPaths, progress: (step: string) => void): Promise<void> {
  if (!existsSync(paths.state) && !existsSync(paths.run)) return;
  await withLock(paths, async () => {
    progress('Stopping the local mesh');
    await endRecorded(paths, ['supervisor.json', 'daemon.json'], 5_000);
    progress('Ending its pods');
    await endEveryRecorded(join(paths.run, 'pods'));
    await endRecorded(paths, ['node.json'], 0);
    progress('Removing its files');
    // The folders of a mount that is just going away with its namespace may be busy for a moment.
    const remove = { recursive: true, force: true, maxRetries: 20, retryDelay: 50 } as const;
    await rm(paths.state, remove);
    await rm(paths.run, remove);
  });
  removeIfEmpty(dirname(paths.state), paths);
}

/** MESH_HOME itself goes too where nothing else is in it and the mesh has made it. */
function removeIfEmpty(home: string, paths: LocalPaths): void {
  if (home !== dirname(paths.run) || basename(paths.state) !== 'state') return;
  if (!existsSync(home) || readdirSync(home).length > 0) return;
  try {
    rmdirSync(home);
  } catch (error) {
    // A file system may be mounted there: it was not the mesh that made the folder.
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
}

function readIdentity(file: string): ProcessIdentity | undefined {
  try {
    const text = readFileSync(file, 'latin1');
    return text.startsWith('{') ? (JSON.parse(text) as ProcessIdentity) : parseStat(text);
  } catch {
    return undefined;
  }
}

async function endRecorded(paths: LocalPaths, files: string[], grace: number): Promise<void> {
  for (const file of files) {
    const found = readIdentity(join(paths.run, file));
    if (found) await end(found, grace);
  }
}

/** Copies the programs to where the mesh runs them from, so that it does not depend on the folder it came from. */
async function installPrograms(state: string): Promise<string> {
  const here = dirname(fileURLToPath(import.meta.url));
  const built = existsSync(join(here, 'supervisor.js')) ? here : join(here, '../dist');
  if (!existsSync(join(built, 'supervisor.js'))) {
    throw new LocalMeshError('not-built', `The mesh's own programs are not in ${built}.`, 'Run `npm run build` first.');
  }
  const target = join(state, 'image/opt/mesh');
  await mkdir(target, { recursive: true, mode: 0o755 });
  const place = async (source: string, name: string): Promise<void> => {
    const fresh = join(target, `.${name}.new`);
    await rm(fresh, { force: true });
    await link(source, fresh).catch(() => copyFile(source, fresh, constants.COPYFILE_FICLONE));
    await rename(fresh, join(target, name));
    // Renaming one link over another of the same file leaves both.
    await rm(fresh, { force: true });
  };
  const scripts = (await readdir(built)).filter((name) => name.endsWith('.js') && !name.startsWith('cli'));
  await Promise.all([place(process.execPath, 'node'), ...scripts.map((name) => place(join(built, name), name))]);
  return target;
}

/** One start or stop at a time; a lock of a process that is gone counts for nothing. */
async function withLock<T>(paths: LocalPaths, work: () => Promise<T>): Promise<T> {
  mkdirSync(paths.run, { recursive: true, mode: 0o711 });
  const file = join(paths.run, 'lock');
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(file, JSON.stringify(identify(process.pid)), { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = readIdentity(file);
      if ((holder && isAlive(holder)) || tries > 3) {
        throw new LocalMeshError(
          'busy',
          `Another mesh command (process ${holder?.pid ?? '?'}) is starting or stopping the local mesh.`,
          'Wait until it is done, then run the command again.',
        );
      }
      rmSync(file, { force: true });
    }
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

const tools = [
  ['nft', 'no-nft', 'nftables'],
  ['ip', 'no-tool', 'iproute2'],
  ['unshare', 'no-tool', 'util-linux'],
  ['nsenter', 'no-tool', 'util-linux'],
  ['setpriv', 'no-tool', 'util-linux (setpriv)'],
  ['mount', 'no-tool', 'mount'],
] as const;

async function findProgram(name: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const there = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return true;
  }
  return false;
}

/** What this machine must have for the local mesh to run. Every check that fails says how to pass it. */
export async function localPreflight(): Promise<PreflightResult[]> {
  const root = process.getuid?.() === 0;
  const results: PreflightResult[] = [
    root
      ? { id: 'no-root', ok: true, message: 'running as root' }
      : {
          id: 'no-root',
          ok: false,
          message: 'The local mesh makes network namespaces, for which it needs root.',
          fix: `Run \`sudo mesh …\`. Running without root would need user namespaces: newuidmap (package uidmap), a range for this user in /etc/subuid and /etc/subgid, and ${unprivileged()}; the local mesh does not use them yet.`,
        },
  ];
  for (const [name, id, from] of tools) {
    const ok = await findProgram(name);
    results.push({
      id,
      ok,
      message: ok ? `${name} is installed` : `The program ${name} is not installed.`,
      ...(ok ? {} : { fix: `Install the package ${from}, e.g. \`apt-get install ${from.split(' ')[0]}\`.` }),
    });
  }
  const overlay =
    readFileSync('/proc/filesystems', 'utf8').includes('overlay') ||
    (root &&
      (await run('modprobe', ['overlay']).then(
        () => true,
        () => false,
      )));
  results.push({
    id: 'overlay-missing',
    ok: overlay,
    message: overlay ? 'the kernel has overlayfs' : 'The kernel has no overlayfs.',
    ...(overlay ? {} : { fix: 'Load it with `modprobe overlay`, or use a kernel that has it.' }),
  });
  return results;
}

function unprivileged(): string {
  const file = '/proc/sys/user/max_user_namespaces';
  const allowed = existsSync(file) && Number(readFileSync(file, 'utf8')) > 0;
  return allowed
    ? 'user namespaces, which this kernel allows'
    : 'user namespaces, which this kernel does not allow (sysctl user.max_user_namespaces)';
}
