/**
 * First process of the local mesh, outside its network: keeps the node's namespaces, the API's listening socket, the
 * relays to the outside, and the daemon, which it starts anew whenever it ends.
 * Arguments: state folder, run folder. Installed beside the daemon in the folder this file lies in.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeLog } from './log.ts';
import type { Failure, FromDaemon, FromSupervisor, ToDaemon } from './messages.ts';
import { nodeNetworkScript } from './network/node.ts';
import { NodeThread } from './network/node-thread.ts';
import { listeningSocket } from './network/socket.ts';
import { ended, identify, isAlive, type ProcessIdentity, parseStat, signal } from './process.ts';
import { askOutside, Publisher, relayEgress } from './relay.ts';
import { quote, readRecord, replaceFile } from './runtime/files.ts';

const [state, run] = process.argv.slice(2) as [string, string];
const programs = dirname(fileURLToPath(import.meta.url));
const logFile = join(run, 'daemon.log');
const logLimit = 10 * 1024 * 1024;
const firstPause = 200;
const longestPause = 10_000;

function tell(message: FromSupervisor): void {
  if (process.connected) process.send?.(message);
}

/** The launcher has heard how the start went. */
function hangUp(): void {
  if (process.connected) process.disconnect?.();
}

const log = makeLog('supervisor');

/** The process that keeps the node's namespaces; one of an earlier supervisor goes on serving. */
async function nodeHolder(): Promise<ProcessIdentity> {
  const record = join(run, 'node.json');
  const found = readRecord<ProcessIdentity>(record);
  if (found && isAlive(found)) return found;
  const scratch = join(run, 'scratch');
  mkdirSync(scratch, { recursive: true });
  const stat = join(run, 'node.stat');
  rmSync(stat, { force: true });
  const script = `echo $$ > ${quote(`${stat}.starting`)}
${nodeNetworkScript}
mount -t tmpfs -o mode=755 mesh ${quote(scratch)}
read -r stat < /proc/self/stat
echo "$stat" > ${quote(`${stat}.new`)}
mv ${quote(`${stat}.new`)} ${quote(stat)}
exec sleep 2147483647`;
  const child = spawn('unshare', ['--net', '--mount', '--propagation', 'private', '--', '/bin/sh', '-ec', script], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
    cwd: '/',
  });
  child.unref();
  const own = identify(child.pid!);
  // Written before the namespaces are complete, so that a stop in between finds the process.
  if (own) replaceFile(record, JSON.stringify(own));
  for (const deadline = Date.now() + 5_000; !existsSync(stat); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (Date.now() > deadline || child.exitCode !== null)
      throw new Error('the node’s network namespace could not be made; see daemon.log');
  }
  const holder = parseStat(readFileSync(stat, 'latin1'))!;
  const identity = { pid: holder.pid, start: holder.start };
  replaceFile(record, JSON.stringify(identity));
  return identity;
}

/** The API's port stays the same for the life of the state, so that kubeconfigs stay valid. */
function openApi(): { fd: number; port: number } {
  const file = join(state, 'port');
  if (existsSync(file)) {
    const port = Number(readFileSync(file, 'utf8'));
    try {
      return { fd: listeningSocket('127.0.0.1', port), port };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw Object.assign(
        new Error(`Port ${port} on 127.0.0.1, where the local mesh has its API, is in use by another process.`),
        {
          code: 'port-in-use',
          fix: `Stop the process that listens there (ss -ltnp 'sport = :${port}'), then run the command again.`,
        },
      );
    }
  }
  for (let tries = 0; ; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      const fd = listeningSocket('127.0.0.1', port);
      replaceFile(file, String(port), 0o644);
      return { fd, port };
    } catch (error) {
      if (tries > 50) throw error;
    }
  }
}

async function main(): Promise<void> {
  replaceFile(join(run, 'supervisor.json'), JSON.stringify(identify(process.pid)));
  const api = openApi();
  tell({ type: 'step', step: 'network' });
  const holder = await nodeHolder();
  const space = `/proc/${holder.pid}/ns`;
  const node = new NodeThread(`${space}/net`, join(programs, 'node-thread.js'));
  await relayEgress(node);
  const publisher = new Publisher(node);
  let child: ChildProcess | undefined;
  let stopping = false;
  let everReady = false;
  let pause = firstPause;

  const answer = (message: ToDaemon): void => {
    if (child?.connected) child.send(message, () => {});
  };
  const hear = async (message: FromDaemon): Promise<void> => {
    if (message.type === 'ready') {
      everReady = true;
      tell({ type: 'ready' });
      hangUp();
    } else if (message.type === 'failed') {
      log(message.failure.message);
      if (everReady) return;
      fail(message.failure);
    } else if (message.type === 'publish') {
      answer({ type: 'published', problems: await publisher.set(message.publications) });
    } else {
      const reply = await askOutside(Buffer.from(message.query, 'base64')).catch(() => undefined);
      answer({ type: 'dns', id: message.id, reply: reply?.toString('base64') });
    }
  };
  const start = (): void => {
    const output = openSync(logFile, 'a', 0o640);
    const begun = Date.now();
    child = spawn(
      'nsenter',
      [
        `--net=${space}/net`,
        `--mount=${space}/mnt`,
        '--',
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        join(programs, 'daemon.js'),
        state,
        run,
        String(api.port),
      ],
      { stdio: ['ignore', output, output, api.fd, 'ipc'], cwd: '/' },
    );
    const identity = identify(child.pid!);
    if (identity) record('daemon.json', identity);
    child.on('message', (message) => void hear(message as FromDaemon));
    child.once('exit', (code, name) => {
      if (stopping) return;
      log(`the daemon ended (${name ?? code}); starting it again`);
      if (Date.now() - begun > 30_000) pause = firstPause;
      setTimeout(start, pause);
      pause = Math.min(longestPause, pause * 2);
    });
  };
  const fail = (failure: Failure): void => {
    stopping = true;
    tell({ type: 'failed', failure });
    hangUp();
    child?.kill('SIGTERM');
    setTimeout(() => process.exit(1), 200);
  };
  process.once('SIGTERM', async () => {
    stopping = true;
    const identity = child?.pid === undefined ? undefined : identify(child.pid);
    if (identity && signal(identity, 'SIGTERM') && !(await ended(identity, 3_000))) signal(identity, 'SIGKILL');
    process.exit(0);
  });
  setInterval(() => {
    try {
      boundLog();
    } catch (error) {
      log(`the log was not shortened: ${(error as Error).message}`);
    }
  }, 10_000);
  tell({ type: 'step', step: 'api' });
  start();
}

/** For a stop by another process. A disk that is full must not keep the daemon from running. */
function record(name: string, identity: ProcessIdentity): void {
  try {
    replaceFile(join(run, name), JSON.stringify(identity));
  } catch (error) {
    log(`${name} was not written: ${(error as Error).message}`);
  }
}

/** Two files of 10 MiB at most; both writers append, so emptying in place is safe. */
function boundLog(): void {
  if (!existsSync(logFile) || statSync(logFile).size < logLimit) return;
  copyFileSync(logFile, `${logFile}.1`);
  truncateSync(logFile);
}

main().catch((error: Error & { code?: string; fix?: string }) => {
  log(error.stack ?? error.message);
  const fix = error.fix ?? `Read ${logFile}.`;
  tell({
    type: 'failed',
    failure: { code: error.fix ? (error.code ?? 'start-failed') : 'start-failed', message: error.message, fix },
  });
  setTimeout(() => process.exit(1), 50);
});
