import { describe, expect, it } from 'vitest';
import { localPaths } from './paths.ts';
import { insideUserNamespace, mapping, subordinateRanges } from './user-namespace.ts';

describe('the ids of a user namespace', () => {
  it('are the user as root, then each of the user’s ranges', () => {
    const ranges = subordinateRanges('bob:1:2\nada:100000:1000\n# ada:5:5\n1000:300000:64536\n', {
      name: 'ada',
      uid: 1000,
    });
    expect(mapping(1000, ranges)).toEqual('0 1000 1 1 100000 1000 1001 300000 64536'.split(' '));
  });

  it.each([
    ['         0          0 4294967295\n', false],
    ['         0       1000          1\n         1     100000      65536\n', true],
    ['         0     100000      65536\n', true],
  ])('tell whether a process is in one: %j', (map, inside) => {
    expect(insideUserNamespace(map)).toBe(inside);
  });
});

describe('the folders of the local mesh', () => {
  it.each([
    [{ MESH_HOME: '/m' }, 1000, '/m/state', '/m/run'],
    [{}, 0, '/var/lib/mesh', '/run/mesh'],
    [{ HOME: '/home/ada' }, 1000, '/home/ada/.local/share/mesh', '/home/ada/.local/share/mesh/run'],
    [
      { HOME: '/home/ada', XDG_RUNTIME_DIR: '/run/user/1000' },
      1000,
      '/home/ada/.local/share/mesh',
      '/run/user/1000/mesh',
    ],
    [{ XDG_DATA_HOME: '/d', XDG_RUNTIME_DIR: '/r' }, 1000, '/d/mesh', '/r/mesh'],
  ])('with %j as user %i are %s and %s', (env, uid, state, run) => {
    expect(localPaths(env, uid)).toEqual({ state, run, kubeconfig: `${state}/kubeconfig` });
  });
});
