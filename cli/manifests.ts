/** Where manifests come from: files, folders, stdin, https. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeObject } from '../kube/types.ts';
import { CliError, UsageError } from './errors.ts';
import type { Io } from './io.ts';

export interface Source {
  /** For messages: the path, the URL or `stdin`. */
  name: string;
  text: string;
}

async function fetchText(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(30_000)]) }).catch(
    (cause: unknown) => {
      throw new CliError({ code: 'unreadable-input', message: `Cannot fetch ${url}`, cause });
    },
  );
  if (!response.ok || !response.url.startsWith('https://')) {
    throw new CliError({ code: 'unreadable-input', message: `Cannot fetch ${url}: HTTP ${response.status}` });
  }
  return response.text();
}

/** Reads every source an argument names; folders recursively, in the order of their names. */
export async function readSources(args: readonly string[], io: Io, signal: AbortSignal): Promise<Source[]> {
  const sources: Source[] = [];
  for (const arg of args) {
    if (arg === '-') {
      const chunks: Buffer[] = [];
      for await (const chunk of io.streams.stdin) chunks.push(Buffer.from(chunk));
      sources.push({ name: 'stdin', text: Buffer.concat(chunks).toString('utf8') });
    } else if (arg.startsWith('https://')) {
      sources.push({ name: arg, text: await fetchText(arg, signal) });
    } else if (/^[a-z]+:\/\//i.test(arg)) {
      throw new UsageError(
        `${arg} is not read: only https addresses are`,
        'Download it, look at it, and pass the file.',
      );
    } else {
      try {
        const folder = (await stat(arg)).isDirectory();
        const names = folder
          ? (await readdir(arg, { recursive: true })).filter((name) => /\.(ya?ml|json)$/.test(name)).sort()
          : [''];
        if (names.length === 0) throw new Error('the folder has no *.yaml, *.yml or *.json');
        for (const name of names) {
          const path = name === '' ? arg : join(arg, name);
          sources.push({ name: path, text: await readFile(path, 'utf8') });
        }
      } catch (cause) {
        throw new CliError({ code: 'unreadable-input', message: `Cannot read ${arg}`, cause });
      }
    }
  }
  return sources;
}

/** The objects of a manifest, Lists opened; file and line where the YAML is broken. */
export async function parseObjects(source: Source): Promise<KubeObject[]> {
  const { parseAllDocuments } = await import('yaml');
  const objects: KubeObject[] = [];
  for (const document of parseAllDocuments(source.text)) {
    const [error] = document.errors;
    if (error) {
      const [what = ''] = error.message.split('\n');
      throw new CliError({
        code: 'broken-yaml',
        message: `${source.name}:${error.linePos?.[0].line ?? 1}: ${what.replace(/ at line .*$/, '')}`,
      });
    }
    const value: unknown = document.toJS();
    if (value === null || value === undefined) continue;
    const found = value as KubeObject;
    for (const object of found.kind === 'List' && Array.isArray(found.items)
      ? (found.items as KubeObject[])
      : [found]) {
      if (!object?.apiVersion || !object.kind || !object.metadata?.name) {
        throw new CliError({
          code: 'not-an-object',
          message: `${source.name}: a document is not a Kubernetes object (apiVersion, kind or metadata.name is missing)`,
        });
      }
      objects.push(object);
    }
  }
  return objects;
}
