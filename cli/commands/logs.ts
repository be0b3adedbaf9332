/** `mesh logs`: log lines of a pod, of a workload's first pod, or of the control plane. */
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { KubeObject } from '../../kube/types.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { CliError, UsageError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { findPod } from '../target-pods.ts';

interface LogsOptions {
  container?: string;
  follow?: boolean;
  tail?: string;
  since?: string;
  previous?: boolean;
}

/** The container asked for, else the first of the application. @throws CliError `not-found` */
function containerOf(pod: KubeObject, wanted: string | undefined): string {
  const names = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])].map((one) => one.name as string);
  if (wanted === undefined) return names[0]!;
  if (names.includes(wanted)) return wanted;
  const close = nearest(wanted, names);
  throw new CliError({
    code: 'not-found',
    message: `pod/${pod.metadata.name} has no container ${wanted}${close === undefined ? '' : ` (did you mean ${close}?)`}`,
    fix: `Use one of ${names.join(', ')}.`,
  });
}

export function register(program: Command, context: Context): void {
  program
    .command('logs')
    .description('Show log lines of a pod, a workload, or the control plane')
    .argument('<target>', 'POD, TYPE/NAME, or control')
    .option('-c, --container <name>', 'container (default: the first of the application)')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'only the last lines (default: all)')
    .option('--since <duration>', 'only newer than this, for example 5m (default: all)')
    .option('-p, --previous', 'of the container before its last restart')
    .addHelpText('after', '\nExamples:\n  mesh logs deploy/web -c mesh-proxy\n  mesh logs control -f --tail 20')
    .action(async (target: string, options: LogsOptions) => {
      const { io } = context;
      const since = options.since === undefined ? undefined : parseDuration('--since', options.since);
      if (options.tail !== undefined && !/^\d+$/.test(options.tail)) {
        throw new UsageError(`--tail "${options.tail}" is not a number of lines`, 'Use for example --tail 20.');
      }
      const kube = await context.kube();
      const pod = await findPod(context, kube, target);
      const container = containerOf(pod, options.container);
      io.detail(`Reading container ${container} of pod/${pod.metadata.name} in namespace ${pod.metadata.namespace}`);
      const stream = await kube.logs(
        pod.metadata.namespace!,
        pod.metadata.name!,
        {
          container,
          ...(options.follow ? { follow: true } : {}),
          ...(options.previous ? { previous: true } : {}),
          ...(options.tail === undefined ? {} : { tailLines: Number(options.tail) }),
          ...(since === undefined ? {} : { sinceSeconds: Math.max(1, Math.ceil(since / 1000)) }),
        },
        AbortSignal.any([context.signal, io.gone]),
      );
      stream.setEncoding('utf8');
      await pipeline(stream, async (chunks: AsyncIterable<string>) => {
        for await (const chunk of chunks) io.write(chunk);
      }).catch((error: unknown) => {
        // Nobody reads on: that is the end, not an error.
        if (!io.gone.aborted) throw error;
      });
    });
}
