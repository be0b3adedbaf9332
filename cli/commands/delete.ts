/** `mesh delete -f`: deletes the objects of manifests, last first, and waits until they are gone. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { ResourceType } from '../../kube/types.ts';
import type { Context } from '../context.ts';
import { CliError, exitCode } from '../errors.ts';
import { parseObjects, readSources } from '../manifests.ts';

const patience = 120_000;

async function gone(
  kube: KubeClient,
  type: ResourceType,
  name: string,
  namespace: string | undefined,
  signal: AbortSignal,
) {
  const deadline = Date.now() + patience;
  while ((await kube.find(type, name, namespace)) !== undefined) {
    if (Date.now() > deadline) {
      throw new CliError({
        code: 'delete-timeout',
        message: `${type.kind.toLowerCase()}/${name} is still there after ${patience / 1000} s`,
        fix: 'look at its finalizers and events',
        exit: exitCode.timeout,
      });
    }
    await wait(200, undefined, { signal });
  }
}

export function register(program: Command, context: Context): void {
  program
    .command('delete')
    .description('Delete the objects of manifests')
    .requiredOption('-f, --filename <files...>', 'file, folder, https address, or - for stdin')
    .option('--dry-run', 'say what would go, delete nothing')
    .addHelpText('after', '\nExamples:\n  mesh delete -f shop.yaml\n  mesh delete -f shop.yaml --dry-run')
    .action(async (options: { filename: string[]; dryRun?: boolean }) => {
      const { io } = context;
      const sources = await readSources(options.filename, io, context.signal);
      const objects = (await Promise.all(sources.map(parseObjects))).flat().reverse();
      const kube = await context.kube();
      const waiting: { type: ResourceType; name: string; namespace: string | undefined; title: string }[] = [];
      for (const object of objects) {
        const type = await kube.resolve(object.apiVersion, object.kind);
        const name = object.metadata.name ?? '';
        const namespace = type?.namespaced ? (object.metadata.namespace ?? kube.namespace) : undefined;
        const group = type === undefined || type.group === '' ? '' : `.${type.group.split('.')[0]}`;
        const title = `${object.kind.toLowerCase()}${group}/${name}`;
        if (!type || (await kube.find(type, name, namespace)) === undefined) {
          io.note(`${title} not found`);
        } else if (options.dryRun) {
          io.write(`${title} deleted (dry run)\n`);
        } else {
          await kube.delete(type, name, namespace, { propagation: 'Background' });
          waiting.push({ type, name, namespace, title });
        }
      }
      for (const { type, name, namespace, title } of waiting) {
        await gone(kube, type, name, namespace, context.signal);
        io.write(`${title} deleted\n`);
      }
    });
}
