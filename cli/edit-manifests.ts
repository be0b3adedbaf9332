/** What `inject` and `uninject` share: sources in, edited text out, one line per object on stderr. */
import { isTrustDomain } from '../protocol/identity.ts';
import { defaultTrustDomain, imageRepository } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import type { Context } from './context.ts';
import { CliError, UsageError } from './errors.ts';
import { brokenYaml, readSources } from './manifests.ts';
import { renderWarning } from './render/error.ts';

export async function editManifests(
  context: Context,
  args: readonly string[],
  options: { mode: 'inject' | 'uninject' | 'annotate'; image?: string; trustDomain?: string; cni?: boolean },
): Promise<void> {
  const { io, globals } = context;
  const { image = `${imageRepository}:${version}`, trustDomain = defaultTrustDomain, cni = false } = options;
  if (!isTrustDomain(trustDomain))
    throw new UsageError(
      `--trust-domain "${trustDomain}" is not a trust domain`,
      'Use a-z, 0-9, ".", "_" and "-", such as cluster.local.',
    );
  if (!/^\S+$/.test(image))
    throw new UsageError(`--image "${image}" is not an image reference`, 'Use for example mesh.dev/mesh:0.1.0.');
  const { editManifest, namespaceAnnotations } = await import('../inject/manifest.ts');
  const { ManifestError } = await import('../inject/parse.ts');
  const sources = await readSources(args, io, context.signal, globals.requestTimeout);
  // A Namespace in one file counts for the pods of all.
  const namespaces = namespaceAnnotations(sources.map(({ text }) => text));
  const texts: string[] = [];
  const failed: string[] = [];
  let count = 0;
  for (const source of sources) {
    let edited: ReturnType<typeof editManifest>;
    try {
      edited = editManifest(source.text, {
        mode: options.mode,
        version,
        image,
        trustDomain,
        cni,
        namespaces,
        ...(globals.namespace === undefined ? {} : { defaultNamespace: globals.namespace }),
      });
    } catch (error) {
      throw error instanceof ManifestError ? brokenYaml(source, error) : error;
    }
    texts.push(edited.text);
    count += edited.reports.length;
    for (const { object, outcome, reason, warnings } of edited.reports) {
      io.note(`${object} ${outcome}${reason === undefined ? '' : `: ${reason}`}`);
      for (const warning of warnings) renderWarning(io, `${object}: ${warning}`);
      if (outcome === 'failed') failed.push(`${source.name}: ${object}: ${reason}`);
    }
  }
  if (count === 0) {
    throw new CliError({
      code: 'no-objects',
      message: `There is no Kubernetes object in ${sources.map(({ name }) => name).join(', ')}`,
    });
  }
  if (failed.length > 0) {
    throw new CliError({ code: 'cannot-inject', message: failed.join('; ') });
  }
  io.write(joined(texts));
  io.hint(`Next: mesh ${options.mode === 'uninject' ? 'uninject' : 'inject'} ${args.join(' ')} | mesh apply -f -`);
}

/** Several manifests as one; a single one exactly as it is. */
function joined(texts: readonly string[]): string {
  return texts.reduce((whole, text) => {
    const next = text.replace(/^\uFEFF/, '');
    const line = whole === '' || whole.endsWith('\n') ? whole : `${whole}\n`;
    // A directive may only follow the end of a document.
    if (next.startsWith('%')) return `${line}...\n${next}`;
    return next.startsWith('---') ? line + next : `${line}---\n${next}`;
  });
}
