/** The measurement itself: rounds without and with the mesh in turn, and what both used meanwhile. */
import type { KubeClient } from '../../kube/client.ts';
import type { LoadOptions, LoadResult } from '../../load/options.ts';
import { type LoadSummary, summarize } from '../../load/summary.ts';
import type { Context } from '../context.ts';
import { runLoad, untilAnswered } from './load.ts';
import { type BenchOptions, roundWarmUpSeconds } from './options.ts';
import { type Mode, modes } from './plan.ts';
import type { StagePods } from './stage.ts';
import type { Target } from './target.ts';
import { applicationUsage, proxyUsage, type Usage } from './usage.ts';

/** Of the copies, before the first round. */
const warmUpSeconds = 3;

export interface Used {
  cpu_us_per_request: number;
  memory_bytes: number;
}

export interface Figures {
  load: LoadSummary;
  /** undefined where the kubelet does not tell. */
  application: Used | undefined;
  /** With the mesh only. */
  proxies: { client: Used; server: Used } | undefined;
}

interface UsageSeen {
  application: Usage | undefined;
  client: Usage | undefined;
  server: Usage | undefined;
}

/** @throws CliError `bench-failed` */
export async function measure(
  kube: KubeClient,
  target: Target,
  options: BenchOptions,
  stages: Record<Mode, StagePods>,
  context: Context,
  progress: (at: string) => void,
): Promise<Record<Mode, Figures>> {
  const { signal } = context;
  const { rate, connections, http2, rounds, roundSeconds, waitMs } = options;
  const loadOf = (mode: Mode, seconds: number): LoadOptions => ({
    ...{ host: stages[mode].host, port: target.port.port, path: target.path, http2, connections },
    ...{ rate, warmUpSeconds: roundWarmUpSeconds, seconds },
    ...(target.authority === undefined ? {} : { authority: target.authority }),
  });
  const usage = async (mode: Mode): Promise<UsageSeen> => {
    const { servers, load } = stages[mode];
    const proxies = (pods: typeof servers) => (mode === 'mesh' ? proxyUsage(context, kube, pods) : undefined);
    const [application, client, server] = await Promise.all([
      applicationUsage(kube, servers, context.now(), signal),
      proxies([load]),
      proxies(servers),
    ]);
    return { application, client, server };
  };
  const run = (mode: Mode, seconds: number): Promise<LoadResult> =>
    runLoad(kube, stages[mode], loadOf(mode, seconds), signal);

  progress('waiting for the first answers');
  for (const mode of modes)
    await untilAnswered(kube, mode, stages[mode], loadOf(mode, 1), { timeoutMs: waitMs, signal });
  progress('reading what they use');
  const before = await both(usage);
  const all: Record<Mode, LoadResult[]> = { without: [], mesh: [] };
  const counted: Record<Mode, LoadResult[]> = { without: [], mesh: [] };
  for (let round = 0; round <= rounds; round++) {
    // The order turns from round to round, so that a machine that gets slower, or faster, favours neither.
    for (const mode of round % 2 === 0 ? modes : modes.toReversed()) {
      const what = mode === 'mesh' ? 'with the mesh' : 'without';
      progress(round === 0 ? `warming up ${what}` : `round ${round} of ${rounds}, ${what}`);
      const result = await run(mode, round === 0 ? Math.min(warmUpSeconds, roundSeconds) : roundSeconds);
      all[mode].push(result);
      if (round > 0) counted[mode].push(result);
    }
  }
  progress('reading what they used');
  const after = await both(usage);
  return both(async (mode) => {
    const requests = all[mode].reduce((sum, one) => sum + one.sent, 0);
    const used = (part: keyof UsageSeen): Used | undefined => {
      const [first, last] = [before[mode][part], after[mode][part]];
      if (!first || !last) return undefined;
      return { cpu_us_per_request: ((last.cpuSeconds - first.cpuSeconds) / requests) * 1e6, memory_bytes: last.memory };
    };
    const [client, server] = [used('client'), used('server')];
    return {
      load: summarize(counted[mode]),
      application: used('application'),
      proxies: client && server && { client, server },
    };
  });
}

async function both<T>(of: (mode: Mode) => Promise<T>): Promise<Record<Mode, T>> {
  const [without, mesh] = await Promise.all([of('without'), of('mesh')]);
  return { without, mesh };
}
