import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { StatRow } from '../../protocol/api.ts';
import { renderStat } from './stat.ts';

const silent = { tcp_connections: null, sent_bytes_per_second: null, received_bytes_per_second: null, secured: null };
const none = { success: null, requests_per_second: null, p50_ms: null, p95_ms: null, p99_ms: null };
const rows: StatRow[] = [
  {
    ...{ namespace: 'shop', kind: 'deployment', name: 'cart', pods: { meshed: 2, total: 3 }, status: null },
    ...{ success: 0.99999, requests_per_second: 12.34, p50_ms: 1.26, p95_ms: 48.4, p99_ms: 1250 },
    ...{ tcp_connections: 3, sent_bytes_per_second: 1_500_000, received_bytes_per_second: 900, secured: 1 },
  },
  { namespace: 'shop', kind: 'service', name: 'web', pods: null, status: null, ...none, ...silent },
];

describe('the table of stat', () => {
  it.each([
    [
      { wide: false, namespaces: false, types: true },
      [
        'NAME         MESHED  SUCCESS  RPS   P50    P95   P99   CONN',
        'deploy/cart  2/3     99.99%   12.3  1.3ms  48ms  1.3s  3',
        'svc/web      -       -        -     -      -     -     -',
      ],
    ],
    [
      { wide: true, namespaces: true, types: false },
      [
        'NAMESPACE  NAME  MESHED  SUCCESS  RPS   P50    P95   P99   CONN  SECURED  SENT     RECEIVED  STATUS',
        'shop       cart  2/3     99.99%   12.3  1.3ms  48ms  1.3s  3     100.00%  1.5MB/s  900B/s    -',
        'shop       web   -       -        -     -      -     -     -     -        -        -         -',
      ],
    ],
  ])('with %j', (options, lines) => {
    expect(
      renderStat(rows, { ...options, color: false })
        .trimEnd()
        .split('\n'),
    ).toEqual(lines);
  });

  it('marks failures in colour only where asked, and stays aligned', () => {
    const options = { wide: false, namespaces: false, types: false };
    const plain = renderStat(rows, { ...options, color: false });
    const colored = renderStat(rows, { ...options, color: true });
    expect(plain).not.toContain('\x1b');
    expect(colored).toContain('\x1b[31m99.99%\x1b[0m');
    expect(stripVTControlCharacters(colored)).toBe(plain);
  });
});
