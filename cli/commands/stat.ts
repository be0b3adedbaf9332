/** `mesh stat`: live success rate, requests per second and latencies. */
import { type Command, Option } from 'commander';
import type { StatResponse, StatRow } from '../../protocol/api.ts';
import type { Context } from '../context.ts';
import { UsageError } from '../errors.ts';
import { parseResources, parseWindow, type Resource, resourceName } from '../stat-query.ts';

interface StatOptions {
  allNamespaces?: boolean;
  timeWindow: string;
  to?: string;
  from?: string;
  output: 'table' | 'wide' | 'json';
  watch?: boolean;
}

type Get = (path: string) => Promise<StatResponse>;

async function query(get: Get, resources: Resource[], options: StatOptions, namespace: string): Promise<StatResponse> {
  const rows = new Map<string, StatRow>();
  const window = parseWindow(options.timeWindow);
  let time = '';
  for (const { kind, name } of resources) {
    const search = new URLSearchParams({ kind, window: String(window) });
    if (!options.allNamespaces && kind !== 'namespace') search.set('namespace', namespace);
    if (name !== undefined) search.set('name', name);
    for (const direction of ['to', 'from'] as const) {
      const other = options[direction];
      if (other === undefined) continue;
      const peer = resourceName(other);
      search.set(direction, peer.startsWith('namespace/') ? peer : `${namespace}/${peer}`);
    }
    const answer = await get(`/v1/stat?${search}`);
    time = answer.time;
    for (const row of answer.rows) rows.set(`${row.namespace}/${row.kind}/${row.name}`, row);
  }
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  return { time, window_seconds: window, rows: sorted };
}

export function register(program: Command, context: Context): void {
  program
    .command('stat')
    .description('Show live traffic: success rate, requests per second, latencies')
    .argument('<resources...>', 'TYPE, TYPE/NAME, or TYPE NAME1 NAME2 (deploy, sts, ds, job, cj, po, svc, ns, all)')
    .option('-A, --all-namespaces', 'in all namespaces')
    .option('-t, --time-window <duration>', 'how far back, 10s to 1h', '1m')
    .option('--to <resource>', 'only traffic to this TYPE/NAME')
    .option('--from <resource>', 'only traffic from this TYPE/NAME')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'wide', 'json']).default('table'))
    .option('-w, --watch', 'again every 2 seconds')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh stat deploy\n  mesh stat deploy/web --to svc/cart\n  mesh stat all -A -o json',
    )
    .action(async (args: string[], options: StatOptions) => {
      const { io, signal } = context;
      const resources = parseResources(args);
      parseWindow(options.timeWindow);
      if (options.to !== undefined && options.from !== undefined) {
        throw new UsageError('--to and --from exclude each other', 'pass one of them');
      }
      const { renderStat } = await import('../render/stat.ts');
      const { controlApi } = await import('../control-api.ts');
      const kube = await context.kube();
      const api = await controlApi(kube);
      do {
        const answer = await query((path) => api.get(path), resources, options, kube.namespace);
        if (options.watch && io.stdoutIsTerminal && options.output !== 'json') io.write('\x1b[H\x1b[2J');
        if (options.output === 'json') {
          const { time, window_seconds, rows: items } = answer;
          io.write(`${JSON.stringify({ time, window_seconds, items })}\n`);
        } else if (answer.rows.length > 0) {
          io.write(
            renderStat(answer.rows, {
              wide: options.output === 'wide',
              namespaces: options.allNamespaces === true,
              color: io.stdoutColor,
            }),
          );
        }
        if (answer.rows.every((row) => row.requests_per_second === null && row.tcp_connections === null)) {
          const where = options.allNamespaces ? 'in any namespace' : `in namespace ${kube.namespace}`;
          io.note(`no traffic found ${where} in the last ${answer.window_seconds} s`);
        }
        if (options.watch) {
          const { setTimeout: wait } = await import('node:timers/promises');
          await wait(2000, undefined, { signal });
        }
      } while (options.watch && !signal.aborted && !io.closed);
    });
}
