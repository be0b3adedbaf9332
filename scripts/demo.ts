/**
 * `npm run demo`: the whole tour on this machine. Brings the local mesh up in a state folder of its own, injects
 * and deploys the example shop, shows check and stat, and takes everything down again, after Ctrl-C too.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { ensurePrograms, runtimePrograms } from './programs.ts';

const home = await mkdtemp(path.join(tmpdir(), 'mesh-demo-'));
const env = { MESH_HOME: home, KUBECONFIG: '', HOME: home };
let running: { kill(signal: NodeJS.Signals): boolean } | undefined;
let interrupted = false;

process.on('SIGINT', () => {
  interrupted = true;
  process.stderr.write('\ninterrupted: taking the mesh down\n');
  running?.kill('SIGINT');
});

function show(command: string): void {
  process.stdout.write(`\n$ ${command}\n`);
}

/** Runs a command line of the tour as it is printed. */
async function run(command: string): Promise<void> {
  if (interrupted) throw new Error('interrupted');
  show(command);
  // A group of its own, so that Ctrl-C reaches it once, through us.
  const tour = execa('sh', ['-c', command.replaceAll(/\bmesh (?=[a-z])/g, 'bin/mesh ')], {
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  running = tour;
  await tour;
}

async function output(...args: string[]): Promise<string> {
  return (await execa('bin/mesh', args, { env })).stdout;
}

/** Waits until the example has had enough traffic for figures that mean something. */
async function traffic(): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!interrupted && Date.now() < deadline) {
    const { items } = JSON.parse(await output('stat', 'deploy', '-n', 'shop', '-o', 'json')) as {
      items: { name: string; success: number | null; requests_per_second: number | null }[];
    };
    const served = items.filter((item) => item.name !== 'load');
    if (served.length >= 4 && served.every((item) => (item.requests_per_second ?? 0) > 1)) {
      const failing = served.filter((item) => item.success !== null && item.success < 1).map((item) => item.name);
      if (failing.length > 0) return;
    }
    await wait(1000);
  }
  if (!interrupted) throw new Error('no traffic seen in the example within 60 s; see mesh logs -n shop deploy/load');
}

async function failing(): Promise<string[]> {
  const { items } = JSON.parse(await output('stat', 'deploy', '-n', 'shop', '-o', 'json')) as {
    items: { name: string; success: number | null }[];
  };
  return items.filter((item) => item.success !== null && item.success < 1).map((item) => item.name);
}

const started = Date.now();
let failure: unknown;
try {
  await ensurePrograms(runtimePrograms);
  await execa('node', ['scripts/build.ts'], { stdio: 'inherit' });
  await run('mesh check --pre');
  await run('mesh install');
  await run('mesh check');
  await run('mesh inject examples/shop/shop.yaml | mesh apply -f -');
  process.stdout.write('\n(waiting for traffic)\n');
  await traffic();
  await run('mesh stat deploy -n shop');
  await run('mesh check --proxy');
  const names = await failing();
  process.stdout.write(`\nfailing on purpose, found by stat: ${names.join(', ')}\n`);
  if (names.join() !== 'payment')
    throw new Error(`expected exactly the payment service to fail, found: ${names.join(', ') || 'none'}`);
} catch (error) {
  failure = error;
} finally {
  show('mesh uninstall --yes --force');
  const uninstall = () =>
    execa('bin/mesh', ['uninstall', '--yes', '--force'], {
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
      reject: false,
      detached: true,
    });
  let end = await uninstall();
  // Ctrl-C can meet it in the moment before it is in a group of its own.
  while (end.signal === 'SIGINT') end = await uninstall();
  if (end.exitCode === 0) await rm(home, { recursive: true, force: true });
  else failure = new Error(`uninstall failed (${end.shortMessage}); what is left lies in ${home}`, { cause: failure });
  if (interrupted && end.exitCode === 0) process.exit(130);
}
if (failure) {
  process.stderr.write(`demo failed: ${(failure as Error).message}\n`);
  process.exit(1);
}
process.stdout.write(`\ndemo done in ${((Date.now() - started) / 1000).toFixed(0)} s\n`);
