/** The table of `mesh stat`. */
import type { StatRow } from '../../protocol/api.ts';
import { renderTable } from './table.ts';

const none = '-';

function percent(share: number | null): string {
  if (share === null) return none;
  // Never rounds a failure away: 100.00 % means that none failed.
  return `${(share < 1 ? Math.min(99.99, share * 100) : 100).toFixed(2)}%`;
}

function milliseconds(value: number | null): string {
  if (value === null) return none;
  return value >= 1000 ? `${(value / 1000).toFixed(1)}s` : `${value < 10 ? value.toFixed(1) : Math.round(value)}ms`;
}

function bytes(value: number | null): string {
  if (value === null) return none;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}MB/s`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(1)}kB/s` : `${Math.round(value)}B/s`;
}

export function renderStat(
  rows: readonly StatRow[],
  options: { wide: boolean; namespaces: boolean; color: boolean },
): string {
  const kinds = new Set(rows.map((row) => row.kind));
  const header = [
    ...(options.namespaces ? ['NAMESPACE'] : []),
    ...['NAME', 'MESHED', 'SUCCESS', 'RPS', 'P50', 'P95', 'P99', 'CONN'],
    ...(options.wide ? ['SECURED', 'SENT', 'RECEIVED'] : []),
  ];
  const cells = rows.map((row) => [
    ...(options.namespaces ? [row.namespace] : []),
    kinds.size > 1 ? `${row.kind}/${row.name}` : row.name,
    row.pods === null ? none : `${row.pods.meshed}/${row.pods.total}`,
    percent(row.success),
    row.requests_per_second === null ? none : row.requests_per_second.toFixed(1),
    milliseconds(row.p50_ms),
    milliseconds(row.p95_ms),
    milliseconds(row.p99_ms),
    row.tcp_connections === null ? none : String(row.tcp_connections),
    ...(options.wide
      ? [percent(row.secured), bytes(row.sent_bytes_per_second), bytes(row.received_bytes_per_second)]
      : []),
  ]);
  const text = renderTable(header, cells);
  if (!options.color) return text;
  const lines = text.split('\n');
  rows.forEach((row, index) => {
    const cell = percent(row.success);
    if (row.success !== null && row.success < 1) {
      lines[index + 1] = lines[index + 1]?.replace(cell, `\x1b[31m${cell}\x1b[0m`) ?? '';
    }
  });
  return lines.join('\n');
}
