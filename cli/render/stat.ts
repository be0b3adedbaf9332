/** The table of `mesh stat`. */
import type { StatRow } from '../../protocol/api.ts';
import { shortName } from '../kinds.ts';
import { renderTable } from './table.ts';

const none = '-';

function percent(share: number | null): string {
  if (share === null) return none;
  // Never rounds a failure away: 100.00 % means that none failed.
  return `${(share < 1 ? Math.min(99.99, share * 100) : 100).toFixed(2)}%`;
}

function rate(value: number | null): string {
  if (value === null) return none;
  if (value >= 10_000) return `${Math.round(value / 1000)}k`;
  return value >= 100 ? String(Math.round(value)) : value.toFixed(1);
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

export interface StatTableOptions {
  wide: boolean;
  /** With a column of namespaces. */
  namespaces: boolean;
  /** Names with their type: several were asked for. */
  types: boolean;
  color: boolean;
}

export function renderStat(rows: readonly StatRow[], { wide, namespaces, types, color }: StatTableOptions): string {
  const header = [
    ...(namespaces ? ['NAMESPACE'] : []),
    ...['NAME', 'MESHED', 'SUCCESS', 'RPS', 'P50', 'P95', 'P99', 'CONN'],
    ...(wide ? ['SECURED', 'SENT', 'RECEIVED', 'STATUS'] : []),
  ];
  const cells = rows.map((row) => [
    ...(namespaces ? [row.namespace] : []),
    types ? shortName(row.kind, row.name) : row.name,
    row.pods === null ? none : `${row.pods.meshed}/${row.pods.total}`,
    percent(row.success),
    rate(row.requests_per_second),
    milliseconds(row.p50_ms),
    milliseconds(row.p95_ms),
    milliseconds(row.p99_ms),
    row.tcp_connections === null ? none : String(row.tcp_connections),
    ...(wide
      ? [
          percent(row.secured),
          bytes(row.sent_bytes_per_second),
          bytes(row.received_bytes_per_second),
          row.status ?? none,
        ]
      : []),
  ]);
  const success = header.indexOf('SUCCESS');
  return renderTable(header, cells, (text, row, column) =>
    color && column === success && (rows[row]?.success ?? 1) < 1 ? `\x1b[31m${text}\x1b[0m` : text,
  );
}
