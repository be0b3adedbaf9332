/** `mesh apply -f`: server-side apply. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { parseObjects, readSources } from '../manifests.ts';

export function register(program: Command, context: Context): void {
  program
    .command('apply')
    .description('Create or update the objects of manifests')
    .requiredOption('-f, --filename <files...>', 'file, folder, https address, or - for stdin')
    .option('--dry-run', 'ask the server, change nothing')
    .addHelpText('after', '\nExamples:\n  mesh apply -f shop.yaml\n  mesh inject shop.yaml | mesh apply -f -')
    .action(async (options: { filename: string[]; dryRun?: boolean }) => {
      const { io } = context;
      const sources = await readSources(options.filename, io, context.signal);
      const objects = (await Promise.all(sources.map(parseObjects))).flat();
      const first = (kind: string) => (kind === 'CustomResourceDefinition' ? 0 : kind === 'Namespace' ? 1 : 2);
      objects.sort((a, b) => first(a.kind) - first(b.kind));
      const kube = await context.kube();
      for (const object of objects) {
        context.signal.throwIfAborted();
        const type = await kube.resolve(object.apiVersion, object.kind);
        if (!type) {
          throw new CliError({
            code: 'unknown-kind',
            message: `the cluster knows no ${object.kind} of ${object.apiVersion} (${object.metadata.name})`,
          });
        }
        const namespace = type.namespaced ? (object.metadata.namespace ?? kube.namespace) : undefined;
        const wanted = namespace === undefined ? object : { ...object, metadata: { ...object.metadata, namespace } };
        const name = object.metadata.name ?? '';
        const before = await kube.find(type, name, namespace);
        const after = await kube.apply(wanted, {
          fieldManager: 'mesh-apply',
          force: true,
          ...(options.dryRun ? { dryRun: true } : {}),
        });
        const same = before?.metadata.resourceVersion === after.metadata.resourceVersion;
        const verb = before === undefined ? 'created' : same ? 'unchanged' : 'configured';
        const title = `${type.kind.toLowerCase()}${type.group === '' ? '' : `.${type.group.split('.')[0]}`}/${name}`;
        io.write(`${title} ${verb}${options.dryRun ? ' (dry run)' : ''}\n`);
      }
      io.hint('next: mesh stat deploy');
    });
}
