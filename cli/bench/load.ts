/** Runs a load in a load generator's pod, asked for over a port-forward. */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { type LoadOptions, type LoadResult, loadPort } from '../../load/options.ts';
import { formatDuration } from '../duration.ts';
import { CliError } from '../errors.ts';
import { askPod } from '../pod-http.ts';
import type { Mode } from './plan.ts';
import type { StagePods } from './stage.ts';

/** For the answer, beyond the time that the load takes. */
const slackMs = 30_000;
const probe = { rate: 20, warmUpSeconds: 0, seconds: 0.5, connections: 1 };

/** @throws CliError `bench-failed` */
export async function runLoad(
  kube: KubeClient,
  { load }: StagePods,
  options: LoadOptions,
  signal: AbortSignal,
): Promise<LoadResult> {
  const fail = (why: string, cause?: unknown): CliError =>
    new CliError({
      code: 'bench-failed',
      message: `The load generator (pod/${load.metadata.name}) failed: ${why}`,
      cause,
    });
  try {
    const asked = { path: '/', method: 'POST', body: JSON.stringify(options), signal } as const;
    const { status, body } = await askPod(
      kube,
      load.metadata,
      loadPort,
      asked,
      (options.warmUpSeconds + options.seconds) * 1000 + slackMs,
    );
    if (status === 200) return JSON.parse(body) as LoadResult;
    throw fail((JSON.parse(body) as { message: string }).message);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CliError || (error instanceof KubeError && error.status === 403)) throw error;
    throw fail((error as Error).message, error);
  }
}

/**
 * Asks until a request of a small load is answered with success.
 * @throws CliError `bench-failed` with what came in its place, at once where that is the application's own refusal
 */
export async function untilAnswered(
  kube: KubeClient,
  mode: Mode,
  stage: StagePods,
  options: LoadOptions,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; ; await delay(200, undefined, { signal })) {
    let why: string;
    try {
      const { requests, errors } = await runLoad(kube, stage, { ...options, ...probe }, signal);
      const causes = Object.keys(errors);
      if (Object.values(errors).reduce((sum, count) => sum + count, 0) < requests) return;
      why = causes.join(', ');
      if (!causes.every((cause) => /^status 4\d\d$/.test(cause)) && performance.now() < deadline) continue;
    } catch (error) {
      // The program in the pod may not listen yet.
      if (!(error instanceof CliError) || error.code !== 'bench-failed' || performance.now() > deadline) throw error;
      continue;
    }
    const copy = mode === 'mesh' ? 'with a proxy' : 'without one';
    const what = `GET ${options.path} to the copy ${copy}: ${why}`;
    const after = why.startsWith('status 4') ? '' : ` after ${formatDuration(timeoutMs)} (--wait)`;
    throw new CliError({ code: 'bench-failed', message: `No success${after} for ${what}` });
  }
}
