import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImageUsers } from './image-user.ts';

describe('the user of an image', () => {
  let folder: string;
  let users: ImageUsers;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-users-'));
    for (const layer of ['lower', 'upper', 'link', 'bare']) mkdirSync(join(folder, layer));
    for (const layer of ['lower', 'upper']) mkdirSync(join(folder, layer, 'etc'));
    writeFileSync(join(folder, 'lower/etc/passwd'), 'old:x:1:1::/:/bin/sh\n');
    writeFileSync(join(folder, 'upper/etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:1500:1600::/srv:/bin/sh\n');
    writeFileSync(join(folder, 'lower/etc/group'), 'web:x:1600:\nextra:x:1700:other,web\nstaff:x:50:\n');
    symlinkSync('/etc', join(folder, 'link/etc'));
    users = new ImageUsers([join(folder, 'bare'), join(folder, 'upper'), join(folder, 'lower')]);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ['web', 'web', { uid: 1500, gid: 1600, groups: [1700], home: '/srv' }],
    ['1500', 'web', { uid: 1500, gid: 1600, groups: [1700], home: '/srv' }],
    ['web:staff', 'web:staff', { uid: 1500, gid: 50, groups: [1700], home: '/srv' }],
    ['web:77', 'web:77', { uid: 1500, gid: 77, groups: [1700], home: '/srv' }],
    ['4000', undefined, { uid: 4000, gid: 0, groups: [], home: '/' }],
    ['4000:4001', '4000:4001', { uid: 4000, gid: 4001, groups: [], home: '/' }],
    ['0', undefined, { uid: 0, gid: 0, groups: [], home: '/root' }],
  ])('%s (the image says %s) is %j', (wanted, own, found) => {
    expect(users.find(wanted, own)).toEqual(found);
  });

  it('must be known by the name it is given', () => {
    expect(() => users.find('old', 'old')).toThrow('unable to find user old');
    expect(() => users.find('web:none', 'web:none')).toThrow('unable to find group none');
  });

  it('is never read from this machine’s files through a link', () => {
    const linked = new ImageUsers([join(folder, 'link'), join(folder, 'lower')]);
    expect(() => linked.find('root', 'root')).toThrow('unable to find user root');
  });
});
