/** One start of one container: its process, its exit, its log. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isAlive, type ProcessIdentity, parseStat, signal } from '../process.ts';
import { quote } from './files.ts';
import {
  becomeCommand,
  type ContainerPlan,
  containerScript,
  overlayFolders,
  processSpec,
  shimScript,
} from './script.ts';

export interface Exit {
  code: number;
  finishedAt: string;
}

/** Folder of a container's own files inside its pod's. */
export function containerFolder(podRun: string, name: string): string {
  return join(podRun, 'containers', name);
}

/** What a start of a container says when it ends; shown in its status. */
export function messageFile(podRun: string, container: string, attempt: number): string {
  return join(containerFolder(podRun, container), `${attempt}.message`);
}

const longestMessage = 4_096;
const longestLogMessage = 2_048;

function makeFolder(path: string, mode: number): void {
  mkdirSync(path, { recursive: true });
  chmodSync(path, mode);
}

/** The folders that the container's overlays need, and what of its root is no overlay. */
function makeRoot(plan: ContainerPlan): void {
  const { overlays, folders, links } = plan.root;
  const root = join(plan.scratch, 'root');
  makeFolder(root, 0o755);
  for (const { path, mode } of folders) makeFolder(join(root, path), mode);
  for (const { path, target } of links) symlinkSync(target, join(root, path));
  for (const [index, { target, mode, folders: above }] of overlays.entries()) {
    const { upper, work } = overlayFolders(plan, index);
    makeFolder(upper, mode);
    mkdirSync(work);
    for (const folder of above) makeFolder(join(upper, folder.path), folder.mode);
    // What lies in another overlay is there already.
    if (overlays[0]?.target !== '/') mkdirSync(join(root, target), { recursive: true });
  }
}

/** The last `limit` bytes of a file. */
function lastOf(path: string, limit: number): string {
  if (!existsSync(path)) return '';
  const file = openSync(path, 'r');
  try {
    const size = fstatSync(file).size;
    const buffer = Buffer.alloc(Math.min(size, limit));
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, size - buffer.length)).toString();
  } finally {
    closeSync(file);
  }
}

export class Attempt {
  readonly #base: string;
  /** The shim that this very object started has ended. */
  #shimGone = false;

  constructor(podRun: string, container: string, number: number) {
    this.#base = join(containerFolder(podRun, container), String(number));
  }

  get log(): string {
    return `${this.#base}.log`;
  }

  /** The program's first process, once it runs. */
  get process(): ProcessIdentity | undefined {
    return this.#identity('pid');
  }

  #identity(kind: string): ProcessIdentity | undefined {
    try {
      const text = readFileSync(`${this.#base}.${kind}`, 'latin1');
      return text.endsWith('\n') ? parseStat(text) : undefined;
    } catch {
      return undefined;
    }
  }

  get startedAt(): string {
    return statSync(`${this.#base}.pid`).mtime.toISOString();
  }

  get exit(): Exit | undefined {
    try {
      const text = readFileSync(`${this.#base}.exit`, 'latin1');
      if (!text.endsWith('\n')) return undefined;
      return { code: Number.parseInt(text, 10), finishedAt: statSync(`${this.#base}.exit`).mtime.toISOString() };
    } catch {
      return undefined;
    }
  }

  /** What the program left to say about its end; where it said nothing, with `log` the end of its log. */
  message(log: boolean): string {
    const said = lastOf(`${this.#base}.message`, longestMessage);
    return said === '' && log ? lastOf(this.log, longestLogMessage).split('\n').slice(-80).join('\n') : said;
  }

  /** Whether the shim of this attempt still runs (before that: whether it was ever started). */
  get #shim(): ProcessIdentity | undefined {
    return this.#identity('shim');
  }

  /** Starts the program in the namespaces of the pod's holder; returns at once. */
  start(plan: ContainerPlan, holder: ProcessIdentity, programs: string): void {
    mkdirSync(dirname(this.#base), { recursive: true });
    rmSync(plan.scratch, { recursive: true, force: true });
    makeRoot(plan);
    writeFileSync(`${this.#base}.message`, '');
    // Whatever user the program runs as.
    chmodSync(`${this.#base}.message`, 0o666);
    writeFileSync(`${this.#base}.json`, JSON.stringify(processSpec(plan)), { mode: 0o600 });
    writeFileSync(`${this.#base}.sh`, containerScript(plan, this.#base, programs), { mode: 0o600 });
    const shim = `read -r stat < /proc/self/stat; echo "$stat" > ${quote(`${this.#base}.shim`)}\n${shimScript(this.#base)}`;
    const output = openSync(this.log, 'a', 0o640);
    const space = `/proc/${holder.pid}/ns`;
    const child = spawn(
      'nsenter',
      [`--net=${space}/net`, `--uts=${space}/uts`, `--ipc=${space}/ipc`, '/bin/sh', '-c', shim],
      { detached: true, stdio: ['ignore', output, output], cwd: '/', env: { PATH: process.env.PATH ?? '' } },
    );
    closeSync(output);
    child.unref();
    // Also where it never came to write down what it is.
    child.once('exit', () => {
      this.#shimGone = true;
    });
  }

  /** Resolves when the program runs, or has ended already. */
  async running(cancel: AbortSignal): Promise<void> {
    await this.#until(() => this.process !== undefined || this.exit !== undefined || this.#lost(), cancel);
  }

  /** Resolves with how the program ended. */
  async ended(cancel: AbortSignal): Promise<Exit> {
    await this.#until(() => this.exit !== undefined || this.#lost(), cancel);
    // The shim itself was killed, e.g. with the machine: nobody wrote an exit code.
    return this.exit ?? { code: 137, finishedAt: new Date().toISOString() };
  }

  #lost(): boolean {
    const shim = this.#shim;
    return (this.#shimGone || (shim !== undefined && !isAlive(shim))) && this.exit === undefined;
  }

  async #until(done: () => boolean, cancel: AbortSignal): Promise<void> {
    if (done()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const check = (): void => {
      if (done()) resolve();
    };
    const stop = (): void => reject(cancel.reason);
    const watcher = watch(dirname(this.#base), check);
    // Watching misses what happened before it began, and a shim that was killed leaves no file.
    const timer = setInterval(check, 1_000);
    cancel.addEventListener('abort', stop, { once: true });
    try {
      cancel.throwIfAborted();
      check();
      await promise;
    } finally {
      watcher.close();
      clearInterval(timer);
      cancel.removeEventListener('abort', stop);
    }
  }

  /** Command prefix that runs something inside the container, as its user; undefined where it does not run. */
  enter(programs: string): string[] | undefined {
    const pid = this.process?.pid;
    if (pid === undefined || this.exit !== undefined) return undefined;
    const spaces = ['--uts', '--ipc', '--net', '--pid'];
    return [
      ...['nsenter', '--target', String(pid), ...spaces, '--'],
      ...becomeCommand(programs),
      ...['enter', `${this.#base}.json`, String(pid)],
    ];
  }

  kill(name: NodeJS.Signals): void {
    const target = this.process ?? this.#shim;
    if (target) signal(target, name);
  }

  get started(): boolean {
    return existsSync(`${this.#base}.shim`);
  }

  /** Removes what an older start has left, its log included. */
  remove(): void {
    for (const kind of ['sh', 'json', 'pid', 'exit', 'shim', 'message', 'log', 'log.1'])
      rmSync(`${this.#base}.${kind}`, { force: true });
  }

  /** Keeps the log to two files of `limit` bytes. The program holds the file open for appending, so it is emptied in
   *  place; lines written while it is copied are lost. */
  rotate(limit: number): void {
    if (!existsSync(this.log) || statSync(this.log).size < limit) return;
    spawnSync('cp', [this.log, `${this.log}.1`]);
    spawnSync('truncate', ['-s', '0', this.log]);
  }
}
