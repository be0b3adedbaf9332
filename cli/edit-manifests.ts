/** What `inject` and `uninject` share: sources in, edited text out, one line per object on stderr. */
import { imageRepository } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { readSources } from './manifests.ts';
import { renderWarning } from './render/error.ts';

export async function editManifests(
  context: Context,
  args: readonly string[],
  options: { mode: 'inject' | 'uninject' | 'annotate'; image?: string; trustDomain?: string },
): Promise<void> {
  const { editManifest, ManifestError } = await import('../inject/manifest.ts');
  const sources = await readSources(args, context.io, context.signal);
  const texts: string[] = [];
  const failed: string[] = [];
  for (const source of sources) {
    let edited: ReturnType<typeof editManifest>;
    try {
      edited = editManifest(source.text, {
        mode: options.mode,
        version,
        image: options.image ?? `${imageRepository}:${version}`,
        trustDomain: options.trustDomain ?? 'cluster.local',
        ...(context.globals.namespace === undefined ? {} : { defaultNamespace: context.globals.namespace }),
      });
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      const message = `${source.name}:${error.line}: ${error.message}`;
      throw new CliError({ code: 'broken-yaml', message });
    }
    texts.push(edited.text);
    for (const report of edited.reports) {
      context.io.note(`${report.object} ${report.outcome}${report.reason === undefined ? '' : `: ${report.reason}`}`);
      for (const warning of report.warnings) renderWarning(context.io, `${report.object}: ${warning}`);
      if (report.outcome === 'failed') failed.push(`${report.object}: ${report.reason}`);
    }
  }
  if (failed.length > 0) {
    throw new CliError({ code: 'cannot-inject', message: failed.join('; ') });
  }
  texts.forEach((text, index) => {
    if (index > 0 && !text.startsWith('---')) context.io.write('---\n');
    context.io.write(index < texts.length - 1 && !text.endsWith('\n') ? `${text}\n` : text);
  });
  context.io.hint(
    `Next: mesh ${options.mode === 'uninject' ? 'uninject' : 'inject'} ${args.join(' ')} | mesh apply -f -`,
  );
}
