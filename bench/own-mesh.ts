/** A local mesh of a benchmark's own. */
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { LocalMesh } from '../test/support/local-mesh.ts';

const signals = ['SIGINT', 'SIGTERM'] as const;

/** The benchmark was ended by a signal, and its mesh is gone; a main exits with `exitCode` then, as shells count. */
export class Ended extends Error {
  readonly exitCode: number;

  constructor(signal: (typeof signals)[number]) {
    super(`ended by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * A mesh for as long as `work` takes. It is taken down whatever ends that: its result, its failure, or a signal.
 * @throws Ended
 */
export async function onOwnMesh<T>(say: (text: string) => void, work: (mesh: LocalMesh) => Promise<T>): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  let first = true;
  const end = (signal: (typeof signals)[number]): void => {
    // Under npm a Ctrl-C comes twice, from the terminal and from npm.
    if (!first) return;
    first = false;
    say(`ended by ${signal}: taking the mesh down`);
    reject(new Ended(signal));
  };
  for (const one of signals) process.on(one, end);
  const installed = LocalMesh.install();
  try {
    return await Promise.race([installed.then((mesh) => (first ? work(mesh) : ended)), ended]);
  } finally {
    // An installation that failed has taken back what it did.
    const left = await installed.then(
      (mesh) => {
        if (!first) endChildren();
        return mesh.uninstall();
      },
      () => [],
    );
    if (left.length > 0) say(`left behind: ${left.join(', ')}`);
    for (const one of signals) process.off(one, end);
  }
}

/** Programs that the work has started: they would run on in the mesh's namespaces. */
function endChildren(): void {
  for (const task of readdirSync('/proc/self/task')) {
    const pids = readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim();
    for (const pid of pids === '' ? [] : pids.split(' ')) process.kill(Number(pid));
  }
}
