/** `npm run demo`, to its end and interrupted: nothing of it is left, however often Ctrl-C is pressed. Needs root. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { unable } from '../support/ground.ts';
import { processesOf } from '../support/local-mesh.ts';
import { until } from '../support/mesh.ts';

const root = join(import.meta.dirname, '../..');
let folder = '';
let npm = '';
const own = readlinkSync('/proc/self/ns/net');

/** The network namespace of each of these processes, but this one's own. */
function namespacesOf(pids: string[]): Set<string> {
  const found = new Set<string>();
  for (const pid of pids) {
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      // It ended meanwhile.
    }
  }
  found.delete(own);
  return found;
}

/** Whether anything still holds a network namespace: a process, or a name it is mounted at. */
function held(namespace: string): boolean {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(namespace)) return true;
  return namespacesOf(readdirSync('/proc').filter((name) => /^\d+$/.test(name))).has(namespace);
}

/** The number in what names a process. */
const pidOf = (named: string): string => /\d+/.exec(named)![0];

function left(): string[] {
  return [
    ...processesOf(`${folder}/`),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(folder)),
    ...readdirSync(folder).map((name) => `file ${name}`),
  ];
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-demo-test-'));
  npm = mkdtempSync(join(tmpdir(), 'mesh-demo-npm-'));
});
afterEach(() => {
  for (const one of [folder, npm]) rmSync(one, { recursive: true, force: true });
});

/** The demo in a session of its own, as a terminal has it: Ctrl-C goes to its whole foreground group. */
function startDemo() {
  const child = spawn('npm', ['run', '-s', 'demo'], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    // npm keeps caches of its own in both places.
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, npm_config_cache: npm, NODE_COMPILE_CACHE: npm },
  });
  const state = { text: '', code: undefined as number | null | undefined };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      state.text += chunk;
    });
  // npm ends by the signal it was sent, which a shell calls 130.
  child.on('close', (code, signal) => {
    state.code = signal === 'SIGINT' ? 130 : code;
  });
  const shows = (text: string, times = 1) =>
    until(`"${text}" in the output of the demo`, () => state.text.split(text).length > times, 60);
  const ends = () => until('the end of the demo', () => state.code !== undefined, 110);
  return { state, shows, ends, interrupt: () => process.kill(-child.pid!, 'SIGINT') };
}

describe.skipIf(unable)('the demo', () => {
  test('run to its end finds the service that fails, and leaves nothing behind', async () => {
    const demo = startDemo();
    await demo.ends();
    expect(demo.state.code, demo.state.text).toBe(0);
    expect(demo.state.text).toContain('failing on purpose, found by stat: payment');
    // What was told to end may take a moment more to be gone.
    await expect.poll(left, { timeout: 5_000 }).toEqual([]);
  });

  test.each([
    ['while it installs', '$ mesh install', 1],
    ['with its pods up, twice in a row', '(waiting for traffic)', 2],
  ])('interrupted %s leaves nothing behind', async (_when, text, times) => {
    const demo = startDemo();
    await demo.shows(text);
    const namespaces = await until('a network namespace of the demo', () => {
      const found = namespacesOf(processesOf(`${folder}/`).map(pidOf));
      return found.size > 0 && found;
    });
    for (let time = 1; time <= times; time++) {
      demo.interrupt();
      await demo.shows('interrupted: taking the mesh down', time);
    }
    await demo.ends();
    expect(demo.state.code, demo.state.text).toBe(130);
    // What was told to end may take a moment more to be gone.
    await expect.poll(left, { timeout: 5_000, message: demo.state.text }).toEqual([]);
    expect([...namespaces].filter(held)).toEqual([]);
  });
});
