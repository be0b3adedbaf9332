/** The objects of a manifest, for the commands that send them to Kubernetes. */
import type { ManifestError } from '../inject/parse.ts';
import type { KubeObject } from '../kube/types.ts';
import { CliError } from './errors.ts';
import type { Source } from './sources.ts';

export function brokenYaml(source: Source, { position, message }: ManifestError): CliError {
  return new CliError({
    code: 'broken-yaml',
    message: `${source.name}:${position.line}:${position.col}: ${message}`,
    fix: 'correct the YAML there',
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
          fix: 'correct it, or leave the document out',
        });
      }
      objects.push(object);
    }
  }
  return objects;
}
