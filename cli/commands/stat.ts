/** `mesh stat`: live success rate, requests per second and latencies. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { StatResponse } from '../../protocol/api.ts';
import type { Context } from '../context.ts';
import { CliError, exitCode, UsageError } from '../errors.ts';
import { shortName } from '../kinds.ts';
import { dataText, isData, outputOption } from '../output.ts';
import { renderWarning } from '../render/error.ts';
import { parsePeer, parseResources, parseWindow } from '../stat-query.ts';
import type { Peer, StatRequest } from '../stat-rows.ts';

interface Flags {
  allNamespaces?: boolean;
  timeWindow: string;
  selector?: string;
  to?: string;
  toNamespace?: string;
  from?: string;
  fromNamespace?: string;
  output: 'table' | 'wide' | 'json' | 'yaml' | 'name';
  watch?: boolean;
}

const everyMs = 2_000;

export function register(program: Command, context: Context): void {
  program
    .command('stat')
    .description('Show live traffic: success rate, requests per second, latencies')
    .argument('<resources...>', 'TYPE, TYPE/NAME, or TYPE NAME1 NAME2 (deploy, sts, ds, rs, job, cj, po, svc, ns, all)')
    .option('-A, --all-namespaces', 'in all namespaces')
    .option('-l, --selector <labels>', 'only resources with these labels, for example app=web')
    .option('-t, --time-window <duration>', 'how far back, 10s to 1h', '1m')
    .option('--to <resource>', 'only traffic to this TYPE/NAME')
    .option('--to-namespace <name>', 'namespace of --to (default: that of -n)')
    .option('--from <resource>', 'only traffic from this TYPE/NAME')
    .option('--from-namespace <name>', 'namespace of --from (default: that of -n)')
    .addOption(outputOption(['table', 'wide', 'json', 'yaml', 'name']))
    .option('-w, --watch', 'again every 2 seconds')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh stat deploy\n  mesh stat deploy/web --to svc/cart\n  mesh stat all -A -o json',
    )
    .action((args: string[], flags: Flags) => stat(args, flags, context));
}

async function stat(args: string[], flags: Flags, context: Context): Promise<void> {
  const { io } = context;
  const parsed = parse(args, flags);
  const { checkNames, statRows, hasTraffic } = await import('../stat-rows.ts');
  const { openControl } = await import('../control-api.ts');
  const kube = await context.kube();
  const request = withNamespaces(parsed, flags, kube);
  const ask = async (): Promise<StatResponse> => {
    const api = await openControl(context);
    return statRows(kube, (path) => api.get(path), request);
  };
  const first = await ask();
  await checkNames(kube, request, first);
  if (flags.watch) return watch(first, ask, request, flags, context);
  io.write(await screen(first, request, flags, context));
  if (!isData(flags.output) && !first.rows.some(hasTraffic)) {
    const where = request.namespace === undefined ? 'any namespace' : `namespace ${request.namespace}`;
    const found = first.rows.length === 0 ? 'No such resource' : 'No traffic';
    io.note(`${found} in ${where}${found === 'No traffic' ? ` in the last ${first.window_seconds} s` : ''}`);
  }
  const away = awayOf(first);
  if (away !== undefined) renderWarning(io, `${away}: what proxies tell it may be missing from these figures`);
  const failing = first.rows.find((row) => (row.success ?? 1) < 1);
  if (failing && failing.kind !== 'service' && failing.kind !== 'namespace') {
    io.hint(`Next: mesh logs ${shortName(failing.kind, failing.name)} -n ${failing.namespace}`);
  } else if (first.rows.length > 0) {
    const where = flags.allNamespaces ? ' -A' : request.namespace === 'default' ? '' : ` -n ${request.namespace}`;
    io.hint(`Next: mesh stat ${args.join(' ')}${where} --watch`);
  }
}

/** What needs no cluster to be seen wrong is refused before one is asked. */
function parse(args: string[], flags: Flags) {
  const resources = parseResources(args);
  const { to, from } = flags;
  if (to !== undefined && from !== undefined)
    throw new UsageError('--to and --from exclude each other', 'Use one of them.');
  for (const side of ['to', 'from'] as const) {
    if (flags[`${side}Namespace`] !== undefined && flags[side] === undefined) {
      throw new UsageError(`--${side}-namespace needs --${side}`, `Use for example --${side} deploy/web.`);
    }
  }
  return {
    resources,
    window: parseWindow(flags.timeWindow),
    selector: flags.selector,
    to: to === undefined ? undefined : parsePeer('--to', to, resources),
    from: from === undefined ? undefined : parsePeer('--from', from, resources),
  };
}

function withNamespaces(parsed: ReturnType<typeof parse>, flags: Flags, kube: KubeClient): StatRequest {
  const peer = (one: typeof parsed.to, namespace: string | undefined): Peer | undefined =>
    one && { ...one, namespace: namespace ?? kube.namespace };
  return {
    ...parsed,
    namespace: flags.allNamespaces ? undefined : kube.namespace,
    to: peer(parsed.to, flags.toNamespace),
    from: peer(parsed.from, flags.fromNamespace),
  };
}

async function screen(answer: StatResponse, request: StatRequest, flags: Flags, context: Context): Promise<string> {
  const { output, allNamespaces = false, watch: watched = false } = flags;
  const { time, window_seconds, rows: items, unreachable_replicas = [] } = answer;
  if (output === 'name') return items.map(({ kind, name }) => `${shortName(kind, name)}\n`).join('');
  if (isData(output)) {
    return dataText(output, { time, window_seconds, items, unreachable_replicas }, watched);
  }
  if (items.length === 0) return '';
  const { renderStat } = await import('../render/stat.ts');
  const types = new Set(request.resources.map(({ kind }) => kind));
  return renderStat(items, {
    wide: output === 'wide',
    namespaces: allNamespaces,
    types: types.size > 1 || types.has('all'),
    color: context.io.stdoutColor,
  });
}

/** Until Ctrl-C or until nobody reads on. A control plane that is away for a moment is waited for. */
async function watch(
  first: StatResponse,
  ask: () => Promise<StatResponse>,
  request: StatRequest,
  flags: Flags,
  context: Context,
): Promise<void> {
  const { io, signal } = context;
  const { LiveScreen } = await import('../render/live.ts');
  const live = new LiveScreen(io);
  const ended = AbortSignal.any([signal, io.gone]);
  signal.addEventListener('abort', () => live.end(), { once: true });
  try {
    for (let next: StatResponse | undefined = first; !ended.aborted; next = undefined) {
      try {
        const answer = next ?? (await ask());
        const text = await screen(answer, request, flags, context);
        if (ended.aborted) break;
        if (isData(flags.output)) io.write(text);
        else live.draw(title(answer, request), text);
      } catch (error) {
        if (!(error instanceof CliError) || error.exit !== exitCode.unreachable) throw error;
        renderWarning(io, `${error.message}; it is tried again`);
      }
      await delay(everyMs, undefined, { signal: ended }).catch(() => undefined);
    }
  } finally {
    live.end();
  }
}

/** The replicas of the control plane that the one that was asked does not reach. */
function awayOf({ unreachable_replicas = [] }: StatResponse): string | undefined {
  if (unreachable_replicas.length === 0) return undefined;
  const named = unreachable_replicas.map(({ pod, reason }) => `pod/${pod} (${reason})`);
  return `No answer from another replica of the control plane: ${named.join(', ')}`;
}

function title(answer: StatResponse, { namespace }: StatRequest): string {
  const { time, window_seconds } = answer;
  const away = awayOf(answer);
  const line = `${time.slice(11, 19)}  ${namespace ?? 'all namespaces'}, last ${window_seconds} s; Ctrl-C ends`;
  return away === undefined ? line : `${line}\n${away}`;
}
