/** Starting and ending the local mesh, as the CLI does it. Imports little: every command loads this file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
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
import { chmod, copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './lock.ts';
import type { FromSupervisor } from './messages.ts';
import type { LocalPaths } from './paths.ts';
import { localPreflight, searchPath } from './preflight.ts';
import { end, identify, isAlive, type ProcessIdentity, parseStat } from './process.ts';
import { endRecorded as endEveryRecorded } from './runtime/recorded.ts';
import { type RootSpawnOptions, spawnInUserNamespace } from './user-namespace.ts';

export { type LocalPaths, localPaths } from './paths.ts';
export { localPreflight } from './preflight.ts';

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
  if (['EROFS', 'EACCES', 'EPERM', 'ENOTDIR', 'EEXIST', 'ENOENT', 'EIO'].includes(code ?? ''))
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
  return locked(paths, async () => {
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

async function superviseUntilReady(
  paths: LocalPaths,
  programs: string,
  progress: (step: string) => void,
): Promise<void> {
  rmSync(join(paths.run, 'ready'), { force: true });
  const log = join(paths.run, 'daemon.log');
  const output = openSync(log, 'a', 0o640);
  const program = join(programs, 'node');
  const args = ['--disable-warning=ExperimentalWarning', join(programs, 'supervisor.js'), paths.state, paths.run];
  const options: RootSpawnOptions = {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
    cwd: '/',
    env: { ...process.env, PATH: searchPath() },
  };
  const { keepInherited } = await import('./inherited.ts');
  keepInherited();
  const child = await spawnAsRoot(paths, program, args, options).catch((error: Error) => {
    const message = `The local mesh did not start: ${error.message.trim()}.`;
    throw new LocalMeshError('start-failed', message, 'Run `mesh check --pre`.');
  });
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
  await locked(paths, async () => {
    progress('Stopping the local mesh');
    await endRecorded(paths, ['supervisor.json', 'daemon.json'], 5_000);
    progress('Ending its pods');
    await endEveryRecorded(join(paths.run, 'pods'));
    await endRecorded(paths, ['node.json'], 0);
    progress('Removing its files');
    // The folders of a mount that is just going away with its namespace may be busy for a moment.
    const remove = { recursive: true, force: true, maxRetries: 20, retryDelay: 50 } as const;
    // Not the asynchronous one: it goes on behind one's back after an error.
    const removeAll = (): void => {
      for (const folder of [paths.run, paths.state]) rmSync(folder, remove);
    };
    try {
      removeAll();
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (asRoot || !['EACCES', 'EPERM'].includes(code)) throw error;
      await emptyAsRoot(paths);
      removeAll();
    }
  });
  removeIfEmpty(dirname(paths.state), paths);
}

const asRoot = process.getuid?.() === 0;

/** Starts a program with root's rights over what the mesh makes: real ones, or those of the user namespace it runs in. */
export async function spawnAsRoot(
  paths: LocalPaths,
  program: string,
  args: string[],
  options: RootSpawnOptions,
): Promise<ChildProcess> {
  if (asRoot) return spawn(program, args, options);
  const holder = readIdentity(join(paths.run, 'node.json'));
  if (!holder || !isAlive(holder)) return spawnInUserNamespace(program, args, options);
  return spawn('nsenter', [`--user=/proc/${holder.pid}/ns/user`, '--', program, ...args], options);
}

/** Pods leave files of their own users, which only the user namespace's root may remove. */
async function emptyAsRoot(paths: LocalPaths): Promise<void> {
  const there = [paths.state, paths.run].filter(
    (folder) => existsSync(folder) && !folder.startsWith(join(paths.state, '/')),
  );
  const child = await spawnAsRoot(paths, 'find', [...there, '-mindepth', '1', '-delete'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: searchPath() },
  });
  let complaint = '';
  child.stderr?.on('data', (chunk) => {
    complaint += chunk;
  });
  const [code] = await once(child, 'close');
  if (code === 0) return;
  throw new LocalMeshError(
    'not-removed',
    `The files of the local mesh could not be removed: ${complaint.trim()}.`,
    'Remove what is named, as root where need be.',
  );
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

/** Where the bundles of the mesh's own programs are. */
export function programsFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const built = [here, join(here, '../dist')].find((folder) => existsSync(join(folder, 'supervisor.js')));
  if (built) return built;
  throw new LocalMeshError('not-built', `The mesh's own programs are not in ${here}.`, 'Run `npm run build` first.');
}

/** Copies the programs to where the mesh runs them from, so that it does not depend on the folder it came from. */
async function installPrograms(state: string): Promise<string> {
  const built = programsFolder();
  const target = join(state, 'image/opt/mesh');
  await mkdir(target, { recursive: true });
  // Whatever the umask: pods read this as any user.
  await chmod(target, 0o755);
  const place = async (source: string, name: string): Promise<void> => {
    const fresh = join(target, `.${name}.new`);
    await rm(fresh, { force: true });
    const readable = ((await stat(source)).mode & 0o004) !== 0;
    const linked =
      readable &&
      (await link(source, fresh).then(
        () => true,
        () => false,
      ));
    if (!linked) {
      await copyFile(source, fresh, constants.COPYFILE_FICLONE);
      await chmod(fresh, 0o755);
    }
    await rename(fresh, join(target, name));
    // Renaming one link over another of the same file leaves both.
    await rm(fresh, { force: true });
  };
  const scripts = (await readdir(built)).filter((name) => name.endsWith('.js') && !name.startsWith('cli'));
  await Promise.all([place(process.execPath, 'node'), ...scripts.map((name) => place(join(built, name), name))]);
  return target;
}

/** One start or stop at a time. */
async function locked<T>(paths: LocalPaths, work: () => Promise<T>): Promise<T> {
  try {
    mkdirSync(paths.run, { recursive: true, mode: 0o711 });
    accessSync(paths.run, constants.W_OK);
  } catch (error) {
    throw new LocalMeshError(
      'folder-not-writable',
      `The local mesh cannot write to its folder ${paths.run}: ${(error as Error).message}.`,
      'Set MESH_HOME (or XDG_RUNTIME_DIR, XDG_DATA_HOME) to a folder of this user.',
    );
  }
  const busy = (holder: number): Error =>
    new LocalMeshError(
      'busy',
      `Another mesh command (process ${holder}) is starting or stopping the local mesh.`,
      'Wait until it is done, then run the command again.',
    );
  return withLock(join(paths.run, 'lock'), work, busy);
}
