import { describe, expect, it } from 'vitest';
import { parseMounts } from './host-files.ts';

describe('the mount table', () => {
  it('is read with optional fields and escaped paths', () => {
    const text = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /mnt/my\\040disk rw - xfs /dev/vdb rw
31 22 0:6 / /proc rw master:3 propagate_from:2 - proc proc rw
`;
    expect(parseMounts(text)).toEqual([
      { path: '/', type: 'ext4' },
      { path: '/mnt/my disk', type: 'xfs' },
      { path: '/proc', type: 'proc' },
    ]);
  });
});
