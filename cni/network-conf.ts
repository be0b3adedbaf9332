/** Network configurations with the plugin at their end, and without it. Texts in, texts out. */
import { pluginName } from './layout.ts';
import { annotationsCapability } from './pod-annotation.ts';

type Json = Record<string, unknown>;

const entry = { type: pluginName, capabilities: { [annotationsCapability]: true } };

const isOwn = (plugin: unknown): boolean => (plugin as Json | null)?.type === pluginName;

/** @throws Error where the text is no configuration: perhaps it is being written just now */
function parse(text: string): Json {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Error('it is no JSON object');
  return parsed as Json;
}

/** @throws Error */
function parseList(text: string): { list: Json; plugins: unknown[] } {
  const list = parse(text);
  const { plugins } = list;
  if (!Array.isArray(plugins) || plugins.length === 0) throw new Error('it has no plugins');
  return { list, plugins };
}

const write = (list: Json): string => `${JSON.stringify(list, null, 2)}\n`;

export const names = {
  /** What runtimes read, in their order. */
  isConf: (file: string): boolean => /\.(conf|conflist|json)$/.test(file),
  isList: (file: string): boolean => file.endsWith('.conflist'),
  /** The list that a single configuration becomes part of. */
  listOf: (file: string): string => `${file.replace(/\.(conf|json)$/, '')}.conflist`,
} as const;

/** Whether a list ends with the plugin as this version writes it. @throws Error */
export function isChained(text: string): boolean {
  const { plugins } = parseList(text);
  const own = plugins.filter(isOwn);
  return own.length === 1 && JSON.stringify(plugins.at(-1)) === JSON.stringify(entry);
}

/** Whether the plugin is anywhere in a list; false for a text that is none. */
export function holdsPlugin(text: string): boolean {
  try {
    return parseList(text).plugins.some(isOwn);
  } catch {
    return false;
  }
}

/** @throws Error */
export function chain(text: string): string {
  const { list, plugins } = parseList(text);
  return write({ ...list, plugins: [...plugins.filter((one) => !isOwn(one)), entry] });
}

/** A single configuration as a list with the plugin. @throws Error */
export function chainSingle(text: string): string {
  const single = parse(text);
  if (typeof single.type !== 'string') throw new Error('it names no plugin');
  const { cniVersion, name } = single;
  return write({ ...(cniVersion === undefined ? {} : { cniVersion }), name, plugins: [single, entry] });
}

/** @throws Error */
export function unchain(text: string): string {
  const { list, plugins } = parseList(text);
  return write({ ...list, plugins: plugins.filter((one) => !isOwn(one)) });
}

/** Whether two texts are the same configuration, however they are laid out. */
export function isSame(one: string, other: string): boolean {
  try {
    return write(parse(one)) === write(parse(other));
  } catch {
    return false;
  }
}
