/** The grammar of `mesh`: global flags, help, and every command. */
import { Command, Option } from 'commander';
import type { KubeClient } from '../kube/client.ts';
import * as apply from './commands/apply.ts';
import * as check from './commands/check.ts';
import * as completion from './commands/completion.ts';
import * as deletion from './commands/delete.ts';
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

export const concise = `mesh: mutual TLS, golden metrics and safe retries for every service

Usage: mesh COMMAND [flags]

Set up:      install, upgrade, uninstall, check, version
Workloads:   inject, uninject, apply, delete, image
Look:        stat, logs
Shell:       completion, help

Examples:
  mesh install
  mesh inject deployment.yaml | mesh apply -f -

Help: mesh help COMMAND; topics: ${Object.keys(topics).join(', ')}
Docs: ${docsBase}
`;

/** Global flags work before and after the command, so each command knows them; its help shows its own only. */
function addGlobals(command: Command): void {
  const text = (flags: string, description: string, env?: string) => {
    const option = new Option(flags, description).hideHelp(command.parent !== null);
    command.addOption(env === undefined ? option : option.env(env));
  };
  text('--kubeconfig <file>', 'kubeconfig to use', 'MESH_KUBECONFIG');
  text('--context <name>', 'context of the kubeconfig', 'MESH_CONTEXT');
  text('-n, --namespace <name>', "namespace (default: the context's)", 'MESH_NAMESPACE');
  text('--as <user>', 'act as this user');
  text('--as-group <group...>', 'act as a member of this group');
  text('--request-timeout <duration>', 'how long one request may take (default: 10s)', 'MESH_REQUEST_TIMEOUT');
  text('-q, --quiet', 'only errors on stderr');
  text('-v, --verbose', 'more on stderr');
  text('--debug', 'stack traces and requests on stderr');
  text('--no-color', 'no colour');
  text('--no-input', 'never ask');
}

interface GlobalFlags extends GlobalOptions {
  quiet?: boolean;
  verbose?: boolean;
  debug?: boolean;
  color?: boolean;
  input?: boolean;
}

export function buildProgram(io: Io, signal: AbortSignal): { program: Command; context: Context } {
  let client: Promise<KubeClient> | undefined;
  const context: Context = {
    io,
    globals: {},
    kube: () => {
      client ??= import('./connect.ts').then(({ connectKube }) => connectKube(context.globals, io, io.env));
      return client;
    },
    connected: () => client,
    now: () => new Date(),
    signal,
  };
  const program = new Command('mesh');
  program.exitOverride().configureOutput({ writeOut: (text) => io.write(text), writeErr: () => {} });
  program.description('A service mesh as simple as it gets').usage('COMMAND [flags]').helpCommand(false);
  addGlobals(program);

  for (const { register } of [
    install,
    uninstall,
    upgrade,
    check,
    inject,
    uninject,
    apply,
    deletion,
    image,
    logs,
    stat,
    versionCommand,
    completion,
  ]) {
    register(program, context);
  }
  program
    .command('help')
    .description('Show help of a command or topic')
    .argument('[name...]', `command, or one of ${Object.keys(topics).join(', ')}`)
    .addHelpText('after', `\nExamples:\n  mesh help stat\n  mesh help exit-codes\n`)
    .action((names: string[]) => {
      const [name, inner] = names;
      if (name === undefined) return program.outputHelp();
      const topic = topics[name];
      if (topic !== undefined) return io.write(topic);
      const command = program.commands.find((candidate) => candidate.name() === name);
      if (!command) throw new UsageError(`no command or topic "${name}"`, 'mesh help lists them');
      const below = inner === undefined ? command : command.commands.find((candidate) => candidate.name() === inner);
      if (!below) throw new UsageError(`${name} has no command "${inner}"`, `mesh help ${name} lists them`);
      below.outputHelp();
    });
  program.addHelpText('after', `\nExamples:\n  mesh install\n  mesh stat deploy\n\nDocs: ${docsBase}/cli`);
  for (const command of program.commands) {
    for (const one of [command, ...command.commands]) {
      one.copyInheritedSettings(program).addHelpText('after', `\nDocs: ${docsBase}/cli#${command.name()}`);
      addGlobals(one);
    }
  }
  program.hook('preAction', (_, command) => {
    const flags = command.optsWithGlobals<GlobalFlags>();
    const given: GlobalFlags = { ...program.opts<GlobalFlags>() };
    for (const [key, value] of Object.entries(flags)) if (value !== undefined) Object.assign(given, { [key]: value });
    const off = (name: 'color' | 'input') =>
      program.opts<GlobalFlags>()[name] === false || command.opts<GlobalFlags>()[name] === false;
    io.configure({
      quiet: given.quiet === true,
      verbose: given.verbose === true,
      debug: given.debug === true,
      color: !off('color'),
      input: !off('input'),
    });
    for (const key of ['kubeconfig', 'context', 'namespace', 'as', 'asGroup', 'requestTimeout'] as const) {
      const value = command.opts<GlobalFlags>()[key] ?? program.opts<GlobalFlags>()[key];
      if (value !== undefined) Object.assign(context.globals, { [key]: value });
    }
  });
  return { program, context };
}
