/** A machine that lacks something: one clear error each, and nothing half-done. */
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { delimiter, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { expectGolden, transcript } from '../../cli/test-screen.ts';
import { searchPath } from '../../local/preflight.ts';
import { identify } from '../../local/process.ts';
import { Store } from '../../local/store/store.ts';
import { bin, environment, Folders, type RunOptions, root, run } from '../support/cli.ts';
import { unable } from '../support/ground.ts';
import { until } from '../support/mesh.ts';

describe.skipIf(unable)('a machine that lacks something', () => {
  const folders = new Folders();
  const listening: Server[] = [];
  afterAll(async () => {
    for (const server of listening) server.close();
    await folders.remove();
  });

  /** Another user, who may read the folder that these tests run from all the same. */
  const readAll = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
  const other = ['setpriv', '--reuid=65534', '--clear-groups', ...readAll];

  /** The binary where these shell lines were run before, in a mount namespace of its own. */
  const after = (...lines: string[]): string[] => [
    'unshare',
    '-m',
    'sh',
    '-ec',
    [...lines, 'exec "$@"'].join('\n'),
    'sh',
  ];

  /** Programs that are files nobody can run; `as` in their place, where given. */
  function hiding(names: string[], as = '/dev/null'): string[] {
    return names
      .flatMap((name) =>
        searchPath()
          .split(delimiter)
          .map((folder) => join(folder, name)),
      )
      .filter((place) => existsSync(place))
      .map((place) => `mount --bind ${as} ${place}`);
  }

  interface Case extends RunOptions {
    args?: string[];
  }

  const cases: Record<string, (home: string) => Case | Promise<Case>> = {
    'no-uidmap': () => ({ command: [...after(...hiding(['newuidmap'])), ...other, bin] }),
    'no-nft': () => ({ command: [...after(...hiding(['nft'])), bin] }),
    'no-tool': () => ({ command: [...after(...hiding(['ip'])), bin] }),
    'overlay-missing': (home) => {
      writeFileSync(join(home, 'filesystems'), 'nodev\ttmpfs\n');
      const hidden = `mount --bind ${join(home, 'filesystems')} /proc/filesystems`;
      return { command: [...after(hidden, ...hiding(['modprobe'])), bin] };
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
    'state-newer': (home) => {
      mkdirSync(join(home, 'state'));
      Store.open(join(home, 'state/objects.db')).close();
      const database = new DatabaseSync(join(home, 'state/objects.db'));
      database.exec('PRAGMA user_version = 99');
      database.close();
      return {};
    },
    'state-unwritable': (home) => {
      writeFileSync(join(home, 'state'), 'not a folder');
      return {};
    },
    'folder-not-writable': (home) => {
      writeFileSync(join(home, 'run'), 'not a folder');
      return {};
    },
    'disk-full': (home) => ({ command: [...after(`mount -t tmpfs -o size=1m mesh-test ${home}`), bin] }),
    'start-failed': () => ({ env: { PATH: `${folders.programs([], { unshare: 'exit 1' })}:${process.env.PATH}` } }),
    'image-archive-broken': (home) => {
      mkdirSync(join(home, 'state'));
      return { args: ['image', 'load', '-'], input: 'this is not an archive' };
    },
    'image-failed': (home) => {
      mkdirSync(join(home, 'state'));
      writeFileSync(join(home, 'state/images'), 'not a folder');
      return { args: ['image', 'load', '-'], input: 'this is not an archive' };
    },
  };

  test.concurrent.each(Object.keys(cases))('%s: one clear error, and nothing half-done', async (code) => {
    const home = folders.make();
    const { args = ['install'], ...options } = await cases[code]!(home);
    const seen = await run(args, { ...options, env: { ...environment(home), ...options.env } });
    expect(seen.code, seen.err).toBe(1);
    expectGolden(
      `errors/${code}`,
      transcript(args, seen, [
        [home, 'HOME'],
        [/which this kernel [^;]*/g, 'which this kernel MAY'],
        [/\bsport = :\d+|Port \d+|process \d+/g, 'NUMBER'],
      ]),
    );
    expect(seen.err).toContain(`errors#${code}`);
    expect(existsSync(join(home, 'run/ready'))).toBe(false);
  });
});
