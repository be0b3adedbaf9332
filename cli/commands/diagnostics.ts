/** `mesh diagnostics`: what a proxy knows of itself, and what it tells while a fault is looked for. */
import { Argument, type Command } from 'commander';
import { accessLogFormats, logLevels, maxSettingSeconds, type ProxyState } from '../../protocol/diagnostics.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { CliError, UsageError } from '../errors.ts';
import { isData, outputOption, writeData } from '../output.ts';
import { askProxy, isMeshed } from '../proxy-admin.ts';
import { findPod, targetPods } from '../target-pods.ts';

export function register(program: Command, context: Context): void {
  const diagnostics = program
    .command('diagnostics')
    .description('Look into a running proxy')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh diagnostics proxy deploy/web\n  mesh diagnostics log-level deploy/web debug --for 10m',
    );
  diagnostics
    .command('proxy')
    .description('Show the state of a proxy: certificate, control plane, targets and endpoints, recent errors')
    .argument('<target>', 'POD or TYPE/NAME; of several pods the first that is ready')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .addHelpText(
      'after',
      '\nExamples:\n  mesh diagnostics proxy deploy/web\n  mesh diagnostics proxy web-7d4b9c-x2x5j -n shop -o json',
    )
    .action((target: string, { output }: { output: 'table' | 'json' | 'yaml' }) => show(target, output, context));
  registerSetting(diagnostics, context, {
    name: 'log-level',
    values: logLevels,
    description: 'Change the log level of the proxies of a pod or workload for a time',
    examples: ['mesh diagnostics log-level deploy/web debug', 'mesh diagnostics log-level web-0 warn --for 1h'],
  });
  registerSetting(diagnostics, context, {
    name: 'access-log',
    values: accessLogFormats,
    description: 'Log every request of a pod or workload for a time: mesh logs POD -c mesh-proxy shows the lines',
    examples: ['mesh diagnostics access-log deploy/web json', 'mesh diagnostics access-log web-0 common --for 1h'],
  });
}

async function show(target: string, output: 'table' | 'json' | 'yaml', context: Context): Promise<void> {
  const kube = await context.kube();
  const pod = await findPod(context, kube, target);
  const state = JSON.parse(await askProxy(context, kube, pod, '/state.json')) as ProxyState;
  if (isData(output)) return writeData(context.io, output, state);
  const { renderProxy } = await import('../render/proxy.ts');
  context.io.write(renderProxy(state));
}

interface Setting {
  name: string;
  values: readonly string[];
  description: string;
  examples: string[];
}

function registerSetting(diagnostics: Command, context: Context, setting: Setting): void {
  diagnostics
    .command(setting.name)
    .description(setting.description)
    .argument('<target>', 'POD or TYPE/NAME; of a workload all pods')
    .addArgument(new Argument('<value>').choices(setting.values))
    .option('--for <duration>', 'until it is again what it was; 1s to 24h', '10m')
    .addHelpText('after', `\nExamples:\n${setting.examples.map((one) => `  ${one}\n`).join('')}`.trimEnd())
    .action((target: string, value: string, flags: { for: string }) =>
      change(setting, target, value, flags.for, context),
    );
}

async function change(setting: Setting, target: string, value: string, time: string, context: Context): Promise<void> {
  const seconds = Math.ceil(parseDuration('--for', time) / 1000);
  if (seconds < 1 || seconds > maxSettingSeconds) {
    throw new UsageError(`--for "${time}" is not between 1s and 24h`, 'Use for example --for 10m.');
  }
  const kube = await context.kube();
  const pods = await targetPods(kube, target);
  const meshed = pods.filter(isMeshed);
  if (meshed.length === 0) {
    throw new CliError({
      code: 'not-meshed',
      message: `No pod of ${target} in namespace ${kube.namespace} has a proxy`,
    });
  }
  const failures: CliError[] = [];
  for (const pod of meshed) {
    try {
      await askProxy(context, kube, pod, `/${setting.name}?value=${value}&seconds=${seconds}`, 'PUT');
      context.io.write(`pod/${pod.metadata.name} ${setting.name} ${value} for ${time}\n`);
    } catch (error) {
      // The others are asked all the same.
      if (!(error instanceof CliError) || context.signal.aborted) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (!first) return;
  if (meshed.length === 1) throw first;
  const count = `${failures.length} of ${meshed.length} proxies keep their ${setting.name}`;
  throw new CliError({ code: first.code, message: `${count}. ${first.message}`, cause: first });
}
