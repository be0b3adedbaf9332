/** Where manifests come from (files, folders, stdin, https), and the objects in them. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ManifestError } from '../inject/parse.ts';
import type { KubeObject } from '../kube/types.ts';
import { parseDuration } from './duration.ts';
import { CliError, UsageError } from './errors.ts';
import type { Io } from './io.ts';

export interface Source {
  /** For messages: the path, the URL or `stdin`. */
  name: string;
  text: string;
}

/** More than any manifest has; a wrong address must not fill the memory. */
const maxBytes = 16 << 20;
const maxRedirects = 5;

/** @throws CliError `not-utf8` */
function decode(name: string, bytes: Uint8Array): string {
  try {
    // A byte order mark is part of the text that comes back.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CliError({ code: 'not-utf8', message: `${name} is not UTF-8 text` });
  }
}

function unfetched(url: string, why: string, fix: string): CliError {
  return new CliError({ code: 'unreadable-input', message: `Cannot fetch ${url}: ${why}`, fix });
}

async function fetchBytes(url: string, signal: AbortSignal, limit: string): Promise<Buffer> {
  const milliseconds = parseDuration('--request-timeout', limit);
  if (milliseconds === 0)
    throw new UsageError('--request-timeout 0 leaves no time for an answer', 'Use for example 10s.');
  const timeout = AbortSignal.timeout(milliseconds);
  try {
    let at = url;
    for (let redirects = 0; ; redirects++) {
      const response = await fetch(at, { redirect: 'manual', signal: AbortSignal.any([signal, timeout]) });
      const location = response.headers.get('location');
      if (response.status >= 300 && response.status < 400 && location !== null) {
        await response.body?.cancel();
        at = new URL(location, at).href;
        if (!at.startsWith('https://')) throw unfetched(url, `it leads to ${at}`, 'Only https addresses are read.');
        if (redirects === maxRedirects) throw unfetched(url, 'it leads from one address to the next', 'Name the last.');
        continue;
      }
      if (!response.ok) {
        await response.body?.cancel();
        const said = `${response.status} ${response.statusText}`.trim();
        throw unfetched(url, `the server answers ${said}`, 'Check the address.');
      }
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body ?? []) {
        size += chunk.length;
        if (size > maxBytes) throw unfetched(url, `it is larger than ${maxBytes >> 20} MiB`, 'Check the address.');
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    }
  } catch (error) {
    if (error instanceof CliError || signal.aborted) throw error;
    if (timeout.aborted)
      throw unfetched(url, `no whole answer within ${limit}`, 'Give it longer with --request-timeout 60s.');
    // fetch hides what happened in a cause, and several addresses of a host in an error without words
    const cause = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    const why = cause.message || cause.code || 'no connection';
    const fix = /certificate/i.test(why)
      ? 'Name the file with the CA of that server in NODE_EXTRA_CA_CERTS.'
      : 'Check the address and the network.';
    throw unfetched(url, why, fix);
  }
}

/** Manifest files below a folder, in the order of their paths; hidden ones are not meant. */
async function filesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.')) continue;
    const path = join(folder, name);
    if ((await stat(path)).isDirectory()) found.push(...(await filesBelow(path)));
    else if (/\.(ya?ml|json)$/.test(name)) found.push(path);
  }
  return found;
}

async function readPath(path: string): Promise<Source[]> {
  try {
    const folder = (await stat(path)).isDirectory();
    const names = folder ? await filesBelow(path) : [path];
    if (names.length === 0) throw new Error('the folder has no *.yaml, *.yml or *.json');
    return await Promise.all(names.map(async (name) => ({ name, text: decode(name, await readFile(name)) })));
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError({ code: 'unreadable-input', message: `Cannot read ${path}`, cause });
  }
}

/** Reads every source an argument names; folders recursively. `timeout`: for an address, as a flag has it. */
export async function readSources(
  args: readonly string[],
  io: Io,
  signal: AbortSignal,
  timeout = '30s',
): Promise<Source[]> {
  const { stdin } = io.streams;
  if (args.filter((arg) => arg === '-').length > 1)
    throw new UsageError('- (stdin) can be named once only', 'Name it once.');
  const sources: Source[] = [];
  for (const arg of args) {
    if (arg === '-') {
      if (stdin.isTTY) io.note('Reading the manifest from this terminal; Ctrl-D ends it.');
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
      sources.push({ name: 'stdin', text: decode('stdin', Buffer.concat(chunks)) });
    } else if (arg.startsWith('https://')) {
      sources.push({ name: arg, text: decode(arg, await fetchBytes(arg, signal, timeout)) });
    } else if (/^[a-z]+:\/\//i.test(arg)) {
      throw new UsageError(
        `${arg} is not read: only https addresses are`,
        'Download it, look at it, and pass the file.',
      );
    } else sources.push(...(await readPath(arg)));
  }
  return sources;
}

export function brokenYaml(source: Source, { position, message }: ManifestError): CliError {
  return new CliError({
    code: 'broken-yaml',
    message: `${source.name}:${position.line}:${position.col}: ${message}`,
  });
}

/** Lists opened; file, line and column where the YAML is broken. @throws CliError */
export async function parseObjects(source: Source): Promise<KubeObject[]> {
  const { ManifestError, parseManifest } = await import('../inject/parse.ts');
  const { isList } = await import('../inject/manifest.ts');
  let parsed: ReturnType<typeof parseManifest>;
  try {
    parsed = parseManifest(source.text);
  } catch (error) {
    throw error instanceof ManifestError ? brokenYaml(source, error) : error;
  }
  const objects: KubeObject[] = [];
  for (const { position, value } of parsed) {
    if (value === null || value === undefined) continue;
    for (const object of (isList(value) ? value.items : [value]) as KubeObject[]) {
      if (!object?.apiVersion || !object.kind || !object.metadata?.name) {
        throw new CliError({
          code: 'not-an-object',
          message: `${source.name}:${position.line}: not a Kubernetes object: apiVersion, kind or metadata.name is missing`,
        });
      }
      objects.push(object);
    }
  }
  return objects;
}
