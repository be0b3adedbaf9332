/** `mesh apply -f`: server-side apply. */
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { parseObjects, readSources } from '../manifests.ts';
import { applyObject, objectTitle } from '../objects.ts';

const rank = (kind: string): number => (kind === 'CustomResourceDefinition' ? 0 : kind === 'Namespace' ? 1 : 2);

export function register(program: Command, context: Context): void {
  program
    .command('apply')
    .description('Create or update the objects of manifests')
    .requiredOption('-f, --filename <files...>', 'file, folder, https address, or - for stdin; repeatable')
    .option('--dry-run', 'ask the server, change nothing')
    .addHelpText('after', '\nExamples:\n  mesh apply -f shop.yaml\n  mesh inject shop.yaml | mesh apply -f -')
    .action(async ({ filename, dryRun = false }: { filename: string[]; dryRun?: boolean }) => {
      const { io } = context;
      const sources = await readSources(filename, io, context.signal, context.globals.requestTimeout);
      const objects = (await Promise.all(sources.map(parseObjects))).flat();
      if (objects.length === 0) {
        throw new CliError({ code: 'not-an-object', message: `${filename.join(', ')} has no object to apply` });
      }
      objects.sort((a, b) => rank(a.kind) - rank(b.kind));
      const kube = await context.kube();
      await refuseUnknown(kube, objects);
      for (const object of objects) {
        context.signal.throwIfAborted();
        const type = (await kube.resolve(object.apiVersion, object.kind)) ?? unknown(kube, object);
        const verb = await applyObject(kube, type, object, { fieldManager: 'mesh-apply', dryRun });
        io.write(`${objectTitle(object)} ${verb}${dryRun ? ' (dry run)' : ''}\n`);
      }
      const spaces = new Set(
        objects.map(({ kind, metadata }) => (kind === 'Namespace' ? undefined : metadata.namespace)),
      );
      spaces.delete(undefined);
      const [space] = spaces;
      if (!dryRun) io.hint(`Next: mesh stat deploy${spaces.size > 1 ? ' -A' : space ? ` -n ${space}` : ''}`);
    });
}

/** Before anything is applied. Kinds that a definition among the objects brings are known only after it. */
async function refuseUnknown(kube: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  const definitions = objects.filter(({ kind }) => kind === 'CustomResourceDefinition');
  const brought = new Set(definitions.map(({ spec }) => `${spec?.group} ${spec?.names?.kind}`));
  for (const object of objects) {
    if (brought.has(`${object.apiVersion.split('/')[0]} ${object.kind}`)) continue;
    if (!(await kube.resolve(object.apiVersion, object.kind))) unknown(kube, object);
  }
}

function unknown(kube: KubeClient, { apiVersion, kind, metadata }: KubeObject): never {
  throw new CliError({
    code: 'unknown-kind',
    message: `Cluster "${kube.name}" knows no ${kind} of ${apiVersion} (${metadata.name})`,
  });
}
