/** `mesh inject`: manifests in, meshed manifests out. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { editManifests } from '../edit-manifests.ts';

export function register(program: Command, context: Context): void {
  program
    .command('inject')
    .description('Add the proxy to the workloads of manifests; prints them')
    .argument('<manifests...>', 'files, folders, https addresses, or - for stdin')
    .option('--annotation-only', 'only annotate; the cluster adds the proxy when pods start')
    .option('--image <reference>', 'image of the proxy')
    .option('--cni', 'leave the redirect rules to the CNI plugin, for a mesh installed with --cni')
    .option('--trust-domain <name>', 'trust domain of the mesh', 'cluster.local')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh inject shop.yaml | mesh apply -f -\n  mesh inject manifests/ > meshed.yaml',
    )
    .action(
      (args: string[], options: { annotationOnly?: boolean; image?: string; trustDomain?: string; cni?: boolean }) =>
        editManifests(context, args, { ...options, mode: options.annotationOnly ? 'annotate' : 'inject' }),
    );
}
