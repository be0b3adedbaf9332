/** `mesh delete -f`: deletes the objects of manifests, last first, and waits until they are gone. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Context } from '../context.ts';
import { formatDuration, parseDuration } from '../duration.ts';
import { CliError } from '../errors.ts';
import { parseObjects, readSources } from '../manifests.ts';
import { objectTitle } from '../objects.ts';
import { sayIfSlow } from '../render/status.ts';

interface Flags {
  filename: string[];
  dryRun?: boolean;
  wait: string;
}

interface Going {
  object: KubeObject;
  type: ResourceType;
  namespace: string | undefined;
}

async function gone(
  kube: KubeClient,
  going: Going,
  deadline: number,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { type, object, namespace } = going;
  for (;;) {
    const left = await kube.find(type, object.metadata.name!, namespace);
    if (left === undefined) return;
    if (performance.now() > deadline) {
      const held = left.metadata.finalizers?.length
        ? `; its finalizers are ${left.metadata.finalizers.join(', ')}`
        : '';
      throw new CliError({
        code: 'delete-timeout',
        message: `${objectTitle(object)} is still there after ${formatDuration(waitMs)} (--wait)${held}`,
      });
    }
    await delay(100, undefined, { signal });
  }
}

export function register(program: Command, context: Context): void {
  program
    .command('delete')
    .description('Delete the objects of manifests, and wait until they are gone')
    .requiredOption('-f, --filename <files...>', 'file, folder, https address, or - for stdin; repeatable')
    .option('--dry-run', 'say what would go, delete nothing')
    .option('--wait <duration>', 'how long to wait until they are gone', '2m')
    .addHelpText('after', '\nExamples:\n  mesh delete -f shop.yaml\n  mesh delete -f shop.yaml --dry-run')
    .action(async (flags: Flags) => {
      const { io } = context;
      const wait = parseDuration('--wait', flags.wait);
      const sources = await readSources(flags.filename, io, context.signal, context.globals.requestTimeout);
      const objects = (await Promise.all(sources.map(parseObjects))).flat().reverse();
      const kube = await context.kube();
      const going: Going[] = [];
      for (const object of objects) {
        context.signal.throwIfAborted();
        const type = await kube.resolve(object.apiVersion, object.kind);
        const namespace = type?.namespaced ? (object.metadata.namespace ?? kube.namespace) : undefined;
        if (!type || (await kube.find(type, object.metadata.name!, namespace)) === undefined) {
          io.note(`${objectTitle(object)} not found`);
        } else if (flags.dryRun) {
          io.write(`${objectTitle(object)} deleted (dry run)\n`);
        } else {
          await kube.delete(type, object.metadata.name!, namespace, { propagation: 'Background' });
          going.push({ object, type, namespace });
        }
      }
      const deadline = performance.now() + wait;
      for (const one of going) {
        const title = objectTitle(one.object);
        await sayIfSlow(io, `Waiting until ${title} is gone`, gone(kube, one, deadline, wait, context.signal));
        io.write(`${title} deleted\n`);
      }
      if (going.length > 0) io.hint('Next: mesh stat all');
    });
}
