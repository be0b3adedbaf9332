/** `mesh logs`: log lines of a pod, of a workload's first pod, or of the control plane. */
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import { controlName, controlNamespace } from '../../protocol/names.ts';
import type { Context } from '../context.ts';
import { CliError, UsageError } from '../errors.ts';

interface LogsOptions {
  container?: string;
  follow?: boolean;
  tail?: string;
  since?: string;
  previous?: boolean;
}

const workloads: Record<string, (typeof resources)[keyof typeof resources]> = {
  deploy: resources.deployments,
  deployment: resources.deployments,
  sts: resources.statefulSets,
  statefulset: resources.statefulSets,
  ds: resources.daemonSets,
  daemonset: resources.daemonSets,
  job: resources.jobs,
};

/** Namespace, pod and its application container. */
async function findPod(
  kube: KubeClient,
  target: string,
): Promise<{ namespace: string; pod: string; container?: string }> {
  const [kind = '', name] =
    target === 'control' ? ['deploy', controlName] : target.includes('/') ? target.split('/') : ['pod', target];
  const namespace = target === 'control' ? controlNamespace : kube.namespace;
  let pod: Awaited<ReturnType<KubeClient['get']>> | undefined;
  if (kind === 'pod' || kind === 'po') {
    pod = await kube.find(resources.pods, name ?? '', namespace);
  } else {
    const type = workloads[kind];
    if (!type)
      throw new UsageError(`no logs of "${target}"`, 'POD, deploy/NAME, sts/NAME, ds/NAME, job/NAME or control');
    const workload = await kube.find(type, name ?? '', namespace);
    const labels: Record<string, string> = workload?.spec?.selector?.matchLabels ?? {};
    const labelSelector = Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    if (labelSelector !== '') [pod] = await kube.list(resources.pods, { namespace, labelSelector });
  }
  if (!pod) {
    throw new CliError({
      code: 'not-found',
      message: `${target} in namespace ${namespace} has no pod`,
      fix: 'name another namespace with -n, or see mesh stat pod',
    });
  }
  const container: string | undefined = pod.spec?.containers?.[0]?.name;
  return { namespace, pod: pod.metadata.name ?? '', ...(container === undefined ? {} : { container }) };
}

export function register(program: Command, context: Context): void {
  program
    .command('logs')
    .description('Show log lines of a pod, a workload, or the control plane')
    .argument('<target>', 'POD, TYPE/NAME, or control')
    .option('-c, --container <name>', 'container (default: the first of the application)')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'only the last lines')
    .option('--since <duration>', 'only newer than this, for example 5m')
    .option('-p, --previous', 'of the container before its last restart')
    .addHelpText('after', '\nExamples:\n  mesh logs deploy/web -c mesh-proxy\n  mesh logs control -f --tail 20')
    .action(async (target: string, options: LogsOptions) => {
      const match = options.since === undefined ? undefined : /^(\d+)(s|m|h)$/.exec(options.since);
      if (match === null) throw new UsageError(`--since "${options.since}" is no duration`, 'for example 30s, 5m, 1h');
      if (options.tail !== undefined && !/^\d+$/.test(options.tail)) {
        throw new UsageError(`--tail "${options.tail}" is no number of lines`, 'for example --tail 20');
      }
      const kube = await context.kube();
      const found = await findPod(kube, target);
      const container = options.container ?? found.container;
      const stream = await kube.logs(
        found.namespace,
        found.pod,
        {
          ...(container === undefined ? {} : { container }),
          ...(options.follow ? { follow: true } : {}),
          ...(options.previous ? { previous: true } : {}),
          ...(options.tail === undefined ? {} : { tailLines: Number(options.tail) }),
          ...(match ? { sinceSeconds: Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h'] } : {}),
        },
        context.signal,
      );
      await pipeline(stream, async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          if (context.io.closed) return;
          context.io.write(chunk.toString('utf8'));
        }
      });
    });
}
