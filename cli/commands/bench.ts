/** `mesh bench`: what the mesh adds to the latency of a service, and what its proxies use. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { BenchFlags, BenchOptions } from '../bench/options.ts';
import type { BenchPlan } from '../bench/plan.ts';
import type { BenchReport } from '../bench/report.ts';
import type { Target } from '../bench/target.ts';
import { confirm } from '../confirm.ts';
import type { Context } from '../context.ts';
import { counted } from '../counted.ts';
import { CliError, UsageError } from '../errors.ts';
import { isData, outputOption, writeData } from '../output.ts';
import { renderWarning } from '../render/error.ts';
import { Status } from '../render/status.ts';

interface Flags extends BenchFlags {
  yes?: boolean;
  dryRun?: boolean;
  output: string;
  svg?: string;
}

/** Beyond the load itself: for starting, waiting, reading and removing. */
const spareMs = 5 * 60_000;

export function register(program: Command, context: Context): void {
  program
    .command('bench')
    .summary('Measure what the mesh costs a service')
    .description(
      'Measure latency, CPU and memory of a service without and with the mesh, at a fixed rate, on copies of its Deployment.',
    )
    .argument('<target>', 'deploy/NAME, or the URL of a service: http://NAME.NAMESPACE:PORT/PATH')
    .option('--port <number>', "with deploy/NAME: the container's port (default: its only one)")
    .option('--path <path>', 'with deploy/NAME: what to ask for (default: /)')
    .option('--rate <number>', 'requests per second', '100')
    .option('--duration <duration>', 'how long each of the two is measured, in all rounds', '30s')
    .option('--rounds <number>', 'in so many rounds, in turn', '3')
    .option('--connections <number>', 'connections the requests are spread over', '20')
    .option('--replicas <number>', 'pods of each copy', '1')
    .option('--http2', 'HTTP/2 without TLS in place of HTTP/1.1')
    .option('--svg <file>', 'write a picture of the percentiles')
    .option('-y, --yes', 'do not ask')
    .option('--dry-run', 'list what would run, run nothing')
    .option('--wait <duration>', 'how long to wait for the copies', '2m')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .addHelpText(
      'after',
      '\nExamples:\n  mesh bench deploy/web --port 8080 --rate 500\n  mesh bench http://web.shop:80/products --rate 500 --duration 1m --yes\n  mesh bench deploy/web -o json --svg web.svg --yes',
    )
    .action((target: string, flags: Flags) => bench(target, flags, context));
}

async function bench(text: string, flags: Flags, context: Context): Promise<void> {
  const { io } = context;
  const { parseOptions } = await import('../bench/options.ts');
  const { findTarget, parseTarget } = await import('../bench/target.ts');
  const options = parseOptions(flags);
  const asked = parseTarget(text, flags);
  const { openControl } = await import('../control-api.ts');
  const kube = await context.kube();
  await openControl(context);
  const target = await findTarget(kube, asked);
  const plan = await planOf(kube, target, options, context.now());
  if (flags.dryRun) {
    const { objectTitle } = await import('../objects.ts');
    return io.write(plan.objects.map((one) => `${objectTitle(one)} created (dry run)\n`).join(''));
  }
  await mayGoOn(target, plan, options, flags, context);
  const report = await onStage(kube, target, plan, options, context);
  if (flags.svg !== undefined) await writePicture(flags.svg, report, context);
  if (isData(flags.output)) await writeData(io, flags.output, report);
  else await show(report, context);
  await explain(report, context);
}

async function planOf(kube: KubeClient, target: Target, options: BenchOptions, now: Date): Promise<BenchPlan> {
  const { planBench } = await import('../bench/plan.ts');
  const { roundWarmUpSeconds } = await import('../bench/options.ts');
  const { resources } = await import('../../kube/resources.ts');
  const { controlName, controlNamespace } = await import('../../protocol/names.ts');
  const control = await kube.get(resources.deployments, controlName, controlNamespace);
  const image: string = control.spec.template.spec.containers[0].image;
  const roundMs = (roundWarmUpSeconds + options.roundSeconds) * 1000;
  const longest = 2 * (options.rounds + 1) * roundMs + 2 * options.waitMs + spareMs;
  const deadlineSeconds = Math.ceil(longest / 1000);
  return planBench(target, {
    image,
    deadlineSeconds,
    replicas: options.replicas,
    until: new Date(now.getTime() + longest),
  });
}

/** Says what will run, and goes on only where that is wanted. */
async function mayGoOn(
  target: Target,
  { namespace }: BenchPlan,
  { rate, connections, rounds, roundSeconds, replicas }: BenchOptions,
  { yes }: Flags,
  context: Context,
): Promise<void> {
  const { io } = context;
  const name = `deploy/${target.deployment.metadata.name}`;
  io.note(`This runs in namespace ${namespace} and is removed afterwards:
  two copies of ${name}, of ${counted(replicas, 'pod', 'pods')} each: one without a proxy, one with
  a load generator for each, one of them with a proxy
Each copy is asked for GET ${target.path} on port ${target.port.port}: ${rate} requests/s over ${counted(connections, 'connection', 'connections')}, ${counted(rounds, 'round', 'rounds')} of ${roundSeconds} s in turn.
A copy does whatever ${name} does when it runs: it uses the same databases and queues.`);
  if (yes) return;
  if (!io.canPrompt) throw new UsageError('Running copies of a workload needs a confirmation', 'Pass --yes.');
  await confirm('Run them?', 'Nothing was run', context);
}

/** Brings the copies up, measures, and takes them away, whatever happens. */
async function onStage(
  kube: KubeClient,
  target: Target,
  plan: BenchPlan,
  options: BenchOptions,
  context: Context,
): Promise<BenchReport> {
  const { io, signal } = context;
  const stage = await import('../bench/stage.ts');
  const { measure } = await import('../bench/measure.ts');
  const { reportOf } = await import('../bench/report.ts');
  const old = await stage.removeOld(kube, plan, context.now());
  if (old > 0) io.note(`Removed ${counted(old, 'object', 'objects')} of a measurement that was killed`);
  const status = new Status(io);
  context.cleanUp = 'the copies are removed';
  try {
    await status.start('Starting the copies');
    await stage.create(kube, plan);
    const waiting = (on: string): void => status.waiting(on);
    const pods = await stage.ready(kube, plan, { timeoutMs: options.waitMs, signal, waiting });
    status.done('Started the copies');
    await status.start('Measuring');
    const figures = await measure(kube, target, options, pods, context, (at) => status.progress(at));
    status.done('Measured');
    return reportOf(target, options, figures);
  } catch (error) {
    status.fail();
    throw error;
  } finally {
    await status.start('Removing the copies');
    const left = await stage.remove(kube, plan);
    context.cleanUp = undefined;
    if (left.length > 0) {
      status.fail();
      renderWarning(io, `left behind in namespace ${plan.namespace}: ${left.join('; ')}`);
    } else status.done('Removed the copies');
  }
}

async function writePicture(file: string, report: BenchReport, { io }: Context): Promise<void> {
  const { renderSvg } = await import('../render/bench-svg.ts');
  try {
    await writeFile(file, renderSvg(report));
    io.note(`Wrote ${file}`);
  } catch (error) {
    // The figures took minutes and are shown all the same.
    renderWarning(io, `the picture was not written: ${(error as Error).message}`);
  }
}

async function show(report: BenchReport, { io }: Context): Promise<void> {
  const { renderBars, renderBench } = await import('../render/bench.ts');
  io.write(renderBench(report));
  if (io.stdoutIsTerminal) io.write(`\n${renderBars(report, io.unicode)}`);
}

/** What the figures do not say by themselves. */
async function explain(report: BenchReport, { io }: Context): Promise<void> {
  const { saturated } = await import('../bench/report.ts');
  const { without, mesh, rate } = report;
  for (const [name, mode] of [
    ['without the mesh', without],
    ['with the mesh', mesh],
  ] as const) {
    const causes = Object.entries(mode.error_causes).map(([cause, count]) => `${count} × ${cause}`);
    if (causes.length > 0) renderWarning(io, `errors ${name}: ${causes.join(', ')}`);
    if (saturated(report, mode))
      renderWarning(
        io,
        `${name} ${mode.requests_per_second.toFixed(0)} of ${rate} requests/s were answered: its latencies are those of a queue; lower --rate`,
      );
  }
  if (without.application === null || mesh.application === null)
    io.note(
      'CPU and memory of the application are missing: the kubelet does not tell them, or this user may not `get` nodes/proxy',
    );
  io.note('CPU and memory: the application by the kubelet, proxies by their own metrics; CPU with the warm-up');
  const failed = without.errors + mesh.errors === without.requests + mesh.requests;
  if (failed) throw new CliError({ code: 'bench-failed', message: 'No request was answered with success' });
}
