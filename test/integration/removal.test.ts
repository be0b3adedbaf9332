/** `mesh uninstall` of a local mesh in the middle of things: nothing it ever started is left. Needs root. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until, workload } from '../support/mesh.ts';

describe.skipIf(unable)('a removal of the local mesh', () => {
  // Each round meets the containers at another point of their start.
  it.each([0, 150, 300, 450])('%i ms after pods were applied leaves no process', async (ms) => {
    const local = await LocalMesh.install();
    const sleeps = ['one', 'two', 'three', 'four'].map((name) => workload(name, ['sleep', '100000'], { replicas: 2 }));
    await local.apply(sleeps.join('\n---\n'), true);
    await new Promise((resolve) => setTimeout(resolve, ms));
    expect(await local.uninstall()).toEqual([]);
  });

  it('whose daemon hangs needs --force, and takes everything along', async () => {
    const local = await LocalMesh.install();
    await local.apply(workload('sleeper', ['sleep', '100000']), true);
    await local.ready('sleeper');
    const { pid } = JSON.parse(readFileSync(join(local.home, 'run/daemon.json'), 'utf8')) as { pid: number };
    process.kill(pid, 'SIGSTOP');
    await until('the daemon is stopped', () => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '));
    await expect(local.mesh(['uninstall', '--yes', '--request-timeout', '1s'])).rejects.toThrow(/no answer within 1 s/);
    expect(await local.uninstall('--request-timeout', '1s')).toEqual([]);
  });
});
