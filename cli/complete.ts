/** Candidates for the last word of a command line: commands, flags, their values, and names of what the cluster has. */
import type { Command, Option } from 'commander';
import { resources } from '../kube/resources.ts';
import type { ResourceType } from '../kube/types.ts';
import { innerCommand, withInner } from './arguments.ts';
import { configuredFiles } from './connect.ts';
import type { Context, GlobalOptions } from './context.ts';
import { topics } from './help-topics.ts';
import { kinds } from './kinds.ts';

/** A person waits for it: what the cluster does not say by then is left out. */
const budgetMs = 900;

const shorts = Object.values(kinds).map(({ short }) => short);
const logKinds = ['deploy', 'sts', 'ds', 'rs', 'job', 'po'];

interface Line {
  command: Command | undefined;
  /** Arguments before the current word that are no flags and no values of flags; the command's name is not among them. */
  args: string[];
  /** The flag whose value the current word is. */
  flag: Option | undefined;
  /** What is typed of the current word, without `--flag=`. */
  current: string;
}

const isNamed = (option: Option, name: string): boolean => option.short === name || option.long === name;

export async function candidates(program: Command, context: Context, words: readonly string[]): Promise<string[]> {
  const line = parseLine(program, context.globals, words);
  const { command, args, flag, current } = line;
  if (flag) return valuesOf(flag, line, context);
  const hidden = (one: { name(): string }): boolean => one.name().startsWith('__');
  if (current.startsWith('-')) {
    return (command ?? program).options.flatMap((option) => option.long ?? option.short ?? []).concat('--help');
  }
  const inside = (one: Command): string[] =>
    one.commands.filter((inner) => !hidden(inner)).map((inner) => inner.name());
  if (!command) return inside(program);
  if (command.commands.length > 0) return args.length === 0 ? inside(command) : [];
  switch (command.name()) {
    case 'help':
      if (args.length === 0) return [...inside(program), ...Object.keys(topics)];
      return args.length === 1 ? program.commands.filter((one) => one.name() === args[0]).flatMap(inside) : [];
    case 'stat':
      return resourceNames(current, args, [...shorts, 'all'], context);
    case 'proxy':
    case 'log-level':
    case 'access-log':
    case 'logs':
      if (args.length > 0) return command.registeredArguments[args.length]?.argChoices?.slice() ?? [];
      if (current.includes('/')) return resourceNames(current, args, logKinds, context);
      return [
        ...(command.name() === 'logs' ? ['control'] : []),
        ...logKinds.map((kind) => `${kind}/`),
        ...(await names(context, resources.pods)),
      ];
    default:
      return args.length === 0 ? (command.registeredArguments[0]?.argChoices?.slice() ?? []) : [];
  }
}

function parseLine(program: Command, globals: GlobalOptions, words: readonly string[]): Line {
  const options = withInner(program).flatMap((one) => one.options);
  const args: string[] = [];
  let flag: Option | undefined;
  let command: Command | undefined;
  for (const word of words.slice(0, -1)) {
    if (flag) {
      remember(globals, flag, word);
      flag = undefined;
    } else if (word.startsWith('-')) {
      const [name = '', value] = word.split('=');
      const own = command?.options ?? options;
      const found = own.find((option) => isNamed(option, name));
      if (found?.required && value !== undefined) remember(globals, found, value);
      else if (found?.required) flag = found;
    } else {
      const inner: Command | undefined = innerCommand(command ?? program, word);
      if (inner) command = inner;
      else if (command) args.push(word);
    }
  }
  const current = words.at(-1) ?? '';
  const [name = '', value] = current.split('=');
  if (!flag && value !== undefined && name.startsWith('--')) {
    const found = (command?.options ?? options).find((option) => isNamed(option, name));
    if (found?.required) return { command, args, flag: found, current: value };
  }
  return { command, args, flag, current };
}

/** A namespace or context typed earlier on the line decides where names are looked for. */
function remember(globals: GlobalOptions, flag: Option, value: string): void {
  const key = flag.attributeName();
  if (key === 'namespace' || key === 'context' || key === 'kubeconfig' || key === 'as') globals[key] = value;
}

async function valuesOf(flag: Option, line: Line, context: Context): Promise<string[]> {
  if (flag.argChoices) return flag.argChoices;
  switch (flag.attributeName()) {
    case 'namespace':
    case 'toNamespace':
    case 'fromNamespace':
      return names(context, resources.namespaces);
    case 'to':
    case 'from':
      return resourceNames(
        line.current,
        [],
        shorts.filter((short) => short !== 'po'),
        context,
      );
    case 'context':
      return contexts(context);
    case 'container':
      return containers(line.args[0], context);
    default:
      return [];
  }
}

/** `deploy` → kinds; `deploy/` → its names with the kind in front; after `deploy` → its names. */
async function resourceNames(
  current: string,
  args: readonly string[],
  words: readonly string[],
  context: Context,
): Promise<string[]> {
  const slash = current.indexOf('/');
  const kind = (word: string | undefined) =>
    Object.entries(kinds).find(([long, { short, aliases }]) => [long, short, ...aliases].includes(word ?? ''))?.[1];
  if (slash >= 0) {
    const found = kind(current.slice(0, slash));
    const prefix = current.slice(0, slash + 1);
    return found ? (await names(context, found.type)).map((name) => prefix + name) : [];
  }
  if (args.length === 0) return [...words];
  const found = kind(args[0]);
  if (found) return names(context, found.type);
  return args[0]?.includes('/') ? words.map((word) => `${word}/`) : [];
}

/** Completion has no place to show an error: no candidates is the answer. */
async function soon<T>(work: Promise<T[]>): Promise<T[]> {
  const { promise: late, resolve } = Promise.withResolvers<T[]>();
  const timer = setTimeout(resolve, budgetMs, []);
  return Promise.race([work.catch(() => []), late]).finally(() => clearTimeout(timer));
}

function names(context: Context, type: ResourceType): Promise<string[]> {
  const ask = async (): Promise<string[]> => {
    const kube = await context.kube();
    const objects = await kube.list(type, type.namespaced ? { namespace: kube.namespace } : {});
    return objects.map((object) => object.metadata.name ?? '');
  };
  return soon(ask());
}

function containers(target: string | undefined, context: Context): Promise<string[]> {
  const ask = async (): Promise<string[]> => {
    const kube = await context.kube();
    const pods = await kube.list(resources.pods, { namespace: kube.namespace });
    const meant = pods.filter((pod) => pod.metadata.name === target);
    const found = (meant.length > 0 ? meant : pods).flatMap((pod) => [
      ...(pod.spec.containers ?? []),
      ...(pod.spec.initContainers ?? []),
    ]);
    return [...new Set(found.map((container: { name: string }) => container.name))];
  };
  return soon(ask());
}

function contexts(context: Context): Promise<string[]> {
  const read = async (): Promise<string[]> => {
    const { readFile } = await import('node:fs/promises');
    const { parse } = await import('yaml');
    const files = await Promise.all(
      configuredFiles(context.globals, context.io.env).map((file) => readFile(file, 'utf8')),
    );
    return files.flatMap((text) => (parse(text)?.contexts ?? []).map((one: { name: string }) => one.name));
  };
  return soon(read());
}
