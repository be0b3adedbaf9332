/** The users of an image, by its own /etc/passwd and /etc/group. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImageError } from './runner.ts';

export interface ImageUser {
  uid: number;
  gid: number;
  /** Further groups of its. */
  groups: number[];
  home: string;
}

const largestFile = 4 * 2 ** 20;

/** Where nothing is known about users: root's home, the root group. */
export function rootUser(uid = 0): ImageUser {
  return { uid, gid: 0, groups: [], home: '/root' };
}

export class ImageUsers {
  readonly #layers: string[];

  /** @param layers topmost first */
  constructor(layers: string[]) {
    this.#layers = layers;
  }

  /** @param wanted `user`, `uid`, `user:group` or `uid:gid`, as an image's configuration or a pod says
   *  @param own what the image itself says: its group goes with its user only */
  find(wanted: string, own: string | undefined): ImageUser {
    const [name = '', group] = (own?.split(':')[0] === wanted ? own : wanted).split(':');
    const users = this.#lines('passwd');
    const groups = this.#lines('group');
    const numeric = /^\d+$/.test(name);
    const entry = users.find((one) => one[0] === name) ?? (numeric ? users.find((one) => one[2] === name) : undefined);
    if (!entry && !numeric)
      throw new ImageError(
        'CreateContainerConfigError',
        `unable to find user ${name}: the image's /etc/passwd has none of that name`,
      );
    const uid = Number(entry?.[2] ?? name);
    const gid = group === undefined || group === '' ? Number(entry?.[3] ?? 0) : this.#group(group, groups);
    const further = entry
      ? groups.filter((one) => (one[3] ?? '').split(',').includes(entry[0]!)).map((one) => Number(one[2]))
      : [];
    return { uid, gid, groups: further.filter((one) => Number.isInteger(one) && one !== gid), home: entry?.[5] || '/' };
  }

  #group(name: string, groups: string[][]): number {
    if (/^\d+$/.test(name)) return Number(name);
    const found = groups.find((one) => one[0] === name);
    if (found) return Number(found[2]);
    throw new ImageError(
      'CreateContainerConfigError',
      `unable to find group ${name}: the image's /etc/group has none of that name`,
    );
  }

  /** Of the topmost layer that has the file. A link is not followed: it would lead into this machine's files. */
  #lines(file: 'passwd' | 'group'): string[][] {
    for (const layer of this.#layers) {
      const etc = lstatSync(join(layer, 'etc'), { throwIfNoEntry: false });
      if (!etc) continue;
      // Deleted, or a link: nothing below it is seen through this layer.
      if (!etc.isDirectory()) return [];
      const path = join(layer, 'etc', file);
      const found = lstatSync(path, { throwIfNoEntry: false });
      if (!found) continue;
      if (!found.isFile() || found.size > largestFile) return [];
      return readBounded(path)
        .split('\n')
        .map((line) => line.split(':'));
    }
    return [];
  }
}

function readBounded(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return fstatSync(file).size > largestFile ? '' : readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}
