import { describe, expect, it } from 'vitest';
import { localPreflight, type Machine, searchPath } from './preflight.ts';

const ranges = 'root:10000:5\nada:100000:65536\n';

/** A machine where an ordinary user can run the local mesh, but for what `change` says. */
function machine(change: Partial<Machine> & { files?: Record<string, string>; without?: string[] } = {}): Machine {
  const files: Record<string, string> = {
    '/etc/subuid': ranges,
    '/etc/subgid': ranges,
    '/proc/filesystems': 'nodev\toverlay\n',
    '/proc/sys/user/max_user_namespaces': '15000\n',
    ...change.files,
  };
  return {
    user: { name: 'ada', uid: 1000 },
    kernel: '6.1.0-18-amd64',
    read: (file) => files[file],
    has: async (program) => !change.without?.includes(program),
    succeeds: async () => true,
    ...change,
  };
}

async function problems(view: Machine): Promise<{ id: string; message: string; fix: string | undefined }[]> {
  const failed = (await localPreflight(view)).filter((one) => !one.ok);
  return failed.map(({ id, message, fix }) => ({ id, message, fix }));
}

const refused = async (): Promise<boolean> => false;

describe('what the local mesh needs of a machine', () => {
  it('is there for an ordinary user with subordinate ids, and says how it will run', async () => {
    const results = await localPreflight(machine());
    expect(results.filter((one) => !one.ok)).toEqual([]);
    expect(results[0]?.message).toBe('running without root, in a user namespace');
  });

  it('is less for root: no ranges, no uidmap, no user namespaces', async () => {
    const view = machine({
      user: { name: 'root', uid: 0 },
      files: { '/etc/subuid': '' },
      without: ['newuidmap', 'newgidmap'],
    });
    expect(await problems(view)).toEqual([]);
  });

  it.each([
    ['user/max_user_namespaces', '0', 'user.max_user_namespaces is 0', 'sysctl -w user.max_user_namespaces=15000'],
    [
      'kernel/unprivileged_userns_clone',
      '0',
      'kernel.unprivileged_userns_clone is 0',
      'sysctl -w kernel.unprivileged_userns_clone=1',
    ],
    [
      'kernel/apparmor_restrict_unprivileged_userns',
      '1',
      'AppArmor restricts',
      'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    ],
  ])('names the setting %s that forbids user namespaces, and how to change it', async (file, value, why, fix) => {
    const found = await problems(machine({ succeeds: refused, files: { [`/proc/sys/${file}`]: `${value}\n` } }));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ id: 'no-user-namespaces', message: expect.stringContaining(why) });
    expect(found[0]?.fix).toContain(fix);
  });

  it('says how to see why, where no setting explains that user namespaces are refused', async () => {
    const [found] = await problems(machine({ succeeds: refused }));
    expect(found?.fix).toContain('unshare --user --map-root-user --net --mount -- true');
  });

  it('passes where a setting looks bad but a user namespace can be made all the same', async () => {
    const files = { '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n' };
    expect(await problems(machine({ files }))).toEqual([]);
  });

  it('names uidmap where its programs are not installed', async () => {
    const [found, ...more] = await problems(machine({ without: ['newuidmap', 'newgidmap'] }));
    expect(more).toEqual([]);
    expect(found).toMatchObject({ id: 'no-uidmap', fix: expect.stringContaining('apt-get install uidmap') });
  });

  it.each([
    ['none', ''],
    ['somebody else’s', 'bob:100000:65536\n'],
    ['too small a one', 'ada:100000:1000\n'],
    ['a broken one', 'ada:many:65536\n'],
  ])('names the file that grants a user %s as range of ids', async (_, subgid) => {
    const [found, ...more] = await problems(machine({ files: { '/etc/subgid': subgid } }));
    expect(more).toEqual([]);
    expect(found?.id).toBe('no-subids');
    expect(found?.message).toContain('/etc/subgid');
    expect(found?.message).not.toContain('/etc/subuid');
    // The first that nobody has.
    expect(found?.fix).toContain('usermod --add-subgids 165536-231071 ada');
  });

  it('takes a range that is granted to the number of the user, and several that are enough together', async () => {
    const files = { '/etc/subuid': '1000:100000:65536\n', '/etc/subgid': 'ada:1000000:30000\nada:2000000:40000\n' };
    expect(await problems(machine({ files }))).toEqual([]);
  });

  it.each([
    ['5.10.0', ['kernel-too-old']],
    ['4.19.1', ['kernel-too-old']],
    ['5.11.0-rc1', []],
    ['6.0.0', []],
  ])('knows whether kernel %s mounts overlays without root', async (kernel, ids) => {
    expect((await problems(machine({ kernel }))).map(({ id }) => id)).toEqual(ids);
  });

  it('takes an overlay module that a mount would load', async () => {
    const files = {
      '/proc/filesystems': '',
      '/lib/modules/6.1.0-18-amd64/modules.dep': 'kernel/fs/overlayfs/overlay.ko:',
    };
    expect(await problems(machine({ files }))).toEqual([]);
    const [found] = await problems(machine({ files: { '/proc/filesystems': '' } }));
    expect(found?.id).toBe('overlay-missing');
  });

  it('names each program that is not installed, and its package', async () => {
    const found = await problems(machine({ without: ['nft', 'nsenter'] }));
    expect(found.map(({ id }) => id)).toEqual(['no-nft', 'no-tool']);
    expect(found[0]?.fix).toContain('nftables');
  });
});

describe('the folders programs are looked for in', () => {
  it('are those of PATH first, then the ones an ordinary user’s PATH lacks', () => {
    expect(searchPath('/opt/bin::/usr/bin')).toBe('/opt/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/bin');
  });
});
