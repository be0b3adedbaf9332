/** The end of a pod's processes, while others start. Needs root. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identify, isAlive } from '../../local/process.ts';
import { endRecorded } from '../../local/runtime/recorded.ts';
import { unable } from '../support/ground.ts';
import { until } from '../support/mesh.ts';

describe.skipIf(unable)('the end of a pod', () => {
  let folder: string;
  const started: ChildProcess[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-recorded-'));
    mkdirSync(join(folder, 'containers'));
  });
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  /** A process in a host name namespace of its own, as a pod's are. */
  async function start() {
    const child = spawn('unshare', ['--uts', 'sleep', '1000'], { stdio: 'ignore' });
    started.push(child);
    await until('its program runs', () => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n');
    return identify(child.pid!)!;
  }

  it('takes what nothing tells of along, and nothing of a pod that starts meanwhile', async () => {
    const holder = await start();
    const hidden = spawn('nsenter', ['-t', String(holder.pid), '--uts', 'sleep', '1000'], { stdio: 'ignore' });
    started.push(hidden);
    const unrecorded = identify(hidden.pid!)!;
    writeFileSync(join(folder, 'containers/1.pid'), readFileSync(`/proc/${holder.pid}/stat`));
    const ends = endRecorded(folder);
    await until('the recorded one has ended', () => !isAlive(holder));
    // Their namespaces get the first numbers that are free.
    const others = await Promise.all(Array.from({ length: 10 }, start));
    await ends;
    expect(isAlive(unrecorded)).toBe(false);
    expect(others.map(isAlive)).toEqual(others.map(() => true));
  });
});
