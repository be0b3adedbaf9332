/** The grammar of `mesh`: global flags, help, and every command. */
import { Command, Option } from 'commander';
import type { KubeClient } from '../kube/client.ts';
import { version } from '../protocol/version.ts';
import { innerCommand } from './arguments.ts';
import * as apply from './commands/apply.ts';
import * as bench from './commands/bench.ts';
import * as bug from './commands/bug.ts';
import * as check from './commands/check.ts';
import * as completion from './commands/completion.ts';
import * as deletion from './commands/delete.ts';
import * as diagnostics from './commands/diagnostics.ts';
import * as image from './commands/image.ts';
import * as inject from './commands/inject.ts';
import * as install from './commands/install.ts';
import * as logs from './commands/logs.ts';
import * as stat from './commands/stat.ts';
import * as uninject from './commands/uninject.ts';
import * as uninstall from './commands/uninstall.ts';
import * as upgrade from './commands/upgrade.ts';
import * as versionCommand from './commands/version.ts';
import type { Context, GlobalOptions } from './context.ts';
import { docsBase, UsageError } from './errors.ts';
import { topics } from './help-topics.ts';
import type { Io } from './io.ts';
import { nearest } from './nearest.ts';

export const concise = `mesh: mutual TLS, golden metrics and safe retries for every service

Usage: mesh COMMAND [flags]

Set up:      install, upgrade, uninstall, check, version
Workloads:   inject, uninject, apply, delete, image
Look:        stat, logs, diagnostics, bench
Other:       bug, completion, help

Examples:
  mesh install
  mesh inject deployment.yaml | mesh apply -f -

Help: mesh help COMMAND; topics: ${Object.keys(topics).join(', ')}
Docs: ${docsBase}
`;

const list = (value: string, before: string[] = []): string[] => [...before, value];

/** Every command knows the global flags; its own help does not repeat them. */
function addGlobals(command: Command): void {
  const add = (flags: string, description: string): Option => {
    const option = new Option(flags, description).hideHelp(command.parent !== null);
    command.addOption(option);
    return option;
  };
  add('--kubeconfig <file>', 'kubeconfig to use');
  add('--context <name>', 'context of the kubeconfig');
  add('-n, --namespace <name>', "namespace (default: the context's)");
  add('--as <user>', 'act as this user');
  add('--as-group <group>', 'act as a member of this group; repeatable').argParser(list);
  add('--request-timeout <duration>', 'how long one request may take (default: 10s)');
  add('-q, --quiet', 'only errors on stderr');
  add('-v, --verbose', 'more on stderr');
  add('--debug', 'stack traces and requests on stderr');
  add('--no-color', 'no colour');
  add('--no-input', 'never ask');
}

/** Which global flags have a variable of the environment; a flag wins. */
const environment = {
  kubeconfig: 'MESH_KUBECONFIG',
  context: 'MESH_CONTEXT',
  namespace: 'MESH_NAMESPACE',
  requestTimeout: 'MESH_REQUEST_TIMEOUT',
} as const;

interface GlobalFlags extends GlobalOptions {
  quiet?: boolean;
  verbose?: boolean;
  debug?: boolean;
  color?: boolean;
  input?: boolean;
}

const commands: Record<string, { register(program: Command, context: Context): void }> = {
  install,
  uninstall,
  upgrade,
  check,
  inject,
  uninject,
  apply,
  delete: deletion,
  image,
  logs,
  stat,
  diagnostics,
  version: versionCommand,
  bench,
  bug,
  completion,
};

/**
 * The program with every command; with only the one that is `wanted` where there is such a one, since making them all
 * takes longer than most of them run.
 */
export function buildProgram(io: Io, signal: AbortSignal, wanted = ''): { program: Command; context: Context } {
  let client: Promise<KubeClient> | undefined;
  const context: Context = {
    io,
    globals: {},
    kube: () => {
      client ??= import('./connect.ts').then(({ connectKube }) => connectKube(context.globals, io));
      return client;
    },
    connected: () => client,
    now: () => new Date(),
    signal,
    cleanUp: undefined,
  };
  const program = new Command('mesh');
  // The command stands first (arguments.ts), and every flag is its own.
  program.enablePositionalOptions();
  program.exitOverride().configureOutput({ writeOut: (text) => io.write(text), writeErr: () => {} });
  // The same page for everyone, whatever the width of the terminal.
  program.configureHelp({ helpWidth: 100 });
  program.description('A service mesh as simple as it gets').usage('COMMAND [flags]').helpCommand(false);
  program.version(version, '--version', 'version of the command line').helpOption('-h, --help', 'show this help');
  addGlobals(program);
  if (Object.hasOwn(commands, wanted)) commands[wanted]!.register(program, context);
  else {
    for (const { register } of Object.values(commands)) register(program, context);
    registerHelp(program, io);
  }
  program.addHelpText('after', `\nExamples:\n  mesh install\n  mesh stat deploy\n\nDocs: ${docsBase}/cli`);
  for (const command of program.commands) {
    for (const one of [command, ...command.commands]) {
      one
        .copyInheritedSettings(program)
        .helpCommand(false)
        .helpOption('-h, --help', 'show this help')
        .addHelpText('after', `\nFlags of every command: mesh --help\nDocs: ${docsBase}/cli#${command.name()}`);
      addGlobals(one);
    }
  }
  program.hook('preAction', (_, command) => {
    const { quiet, verbose, debug, color, input, ...globals } = command.opts<GlobalFlags>();
    io.configure({
      quiet: quiet === true,
      verbose: verbose === true,
      debug: debug === true,
      color: color !== false,
      input: input !== false,
    });
    for (const [key, variable] of Object.entries(environment)) {
      if (io.env[variable]) Object.assign(context.globals, { [key]: io.env[variable] });
    }
    for (const key of ['kubeconfig', 'context', 'namespace', 'as', 'asGroup', 'requestTimeout'] as const) {
      if (globals[key] !== undefined) Object.assign(context.globals, { [key]: globals[key] });
    }
  });
  return { program, context };
}

function registerHelp(program: Command, io: Io): void {
  program
    .command('help')
    .description('Show help of a command or topic')
    .argument('[name...]', `command, or one of ${Object.keys(topics).join(', ')}`)
    .addHelpText('after', '\nExamples:\n  mesh help stat\n  mesh help exit-codes')
    .action((names: string[]) => {
      const [name] = names;
      const topic = names.length === 1 ? topics[name!] : undefined;
      if (topic !== undefined) return io.write(topic);
      commandOf(program, names).outputHelp();
    });
}

/** The command that the names lead to, one inside the other. @throws UsageError with the nearest there is */
function commandOf(program: Command, names: readonly string[]): Command {
  let command = program;
  for (const name of names) {
    const inner = innerCommand(command, name);
    if (!inner) {
      const outer = command === program;
      const known = [...command.commands.map((one) => one.name()), ...(outer ? Object.keys(topics) : [])];
      const close = nearest(name, known);
      const suggestion = close === undefined ? '' : ` (did you mean ${close}?)`;
      throw new UsageError(
        outer
          ? `There is no command or topic "${name}"${suggestion}`
          : `${command.name()} has no command "${name}"${suggestion}`,
        `Run \`mesh help${outer ? '' : ` ${command.name()}`}\`, which lists them.`,
      );
    }
    command = inner;
  }
  return command;
}
