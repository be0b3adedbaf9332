/** A machine that lacks something: one clear error each, and nothing half-done. */
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { expectGolden, transcript } from '../../cli/test-screen.ts';
import { identify } from '../../local/process.ts';
import { bin, environment, Folders, type RunOptions, root, run } from '../support/cli.ts';
import { unable, until } from '../support/mesh.ts';

describe.skipIf(unable)('a machine that lacks something', () => {
  const folders = new Folders();
  const listening: Server[] = [];
  afterAll(async () => {
    for (const server of listening) server.close();
    await folders.remove();
  });

  /** Another user, who may read the folder that these tests run from all the same. */
  const readAll = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
  const all = ['nft', 'ip', 'unshare', 'nsenter', 'setpriv'];
  const without = (name: string) => folders.programs(all.filter((one) => one !== name));

  const cases: Record<string, (home: string) => RunOptions | Promise<RunOptions>> = {
    'no-root': () => {
      return { command: ['setpriv', '--reuid=65534', '--clear-groups', ...readAll, bin] };
    },
    'no-nft': () => ({ env: { PATH: without('nft') } }),
    'no-tool': () => ({ env: { PATH: without('ip') } }),
    'overlay-missing': (home) => {
      writeFileSync(join(home, 'filesystems'), 'nodev\ttmpfs\n');
      const line = `mount --bind ${join(home, 'filesystems')} /proc/filesystems && exec ${bin} "$@"`;
      return { command: ['unshare', '-m', 'sh', '-c', line, 'sh'], env: { PATH: folders.programs(all) } };
    },
    'not-built': (home) => {
      const place = join(home, 'programs');
      mkdirSync(place);
      for (const name of readdirSync(join(root, 'dist'))) {
        if (name.startsWith('cli')) cpSync(join(root, 'dist', name), join(place, name));
      }
      return { command: [process.execPath, join(place, 'cli.js')] };
    },
    busy: (home) => {
      mkdirSync(join(home, 'run'));
      writeFileSync(join(home, 'run/lock'), JSON.stringify(identify(process.pid)));
      return {};
    },
    'port-in-use': async (home) => {
      const holder = createServer().listen(0, '127.0.0.1');
      listening.push(holder);
      await until('a port', () => holder.address() !== null);
      mkdirSync(join(home, 'state'));
      writeFileSync(join(home, 'state/port'), String((holder.address() as { port: number }).port));
      return {};
    },
    'state-corrupt': (home) => {
      mkdirSync(join(home, 'state'));
      writeFileSync(join(home, 'state/objects.db'), 'this is not what it should be');
      return {};
    },
    'start-failed': () => ({ env: { PATH: `${folders.programs([], { unshare: 'exit 1' })}:${process.env.PATH}` } }),
  };

  test.concurrent.each(Object.keys(cases))('%s: one clear error, and nothing half-done', async (code) => {
    const home = folders.make();
    const options = await cases[code]!(home);
    const seen = await run(['install'], { ...options, env: { ...environment(home), ...options.env } });
    expect(seen.code, seen.err).toBe(1);
    expectGolden(
      `errors/${code}`,
      transcript(['install'], seen, [
        [home, 'HOME'],
        [/which this kernel [^;]*/g, 'which this kernel MAY'],
        [/\bsport = :\d+|Port \d+|process \d+/g, 'NUMBER'],
      ]),
    );
    expect(seen.err).toContain(`errors#${code}`);
    expect(existsSync(join(home, 'run/ready'))).toBe(false);
  });
});
