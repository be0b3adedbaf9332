/** `mesh uninject`: takes out what `mesh inject` put in. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { editManifests } from '../edit-manifests.ts';

export function register(program: Command, context: Context): void {
  program
    .command('uninject')
    .description('Take the proxy out of manifests; prints them')
    .argument('<manifests...>', 'files, folders, https addresses, or - for stdin')
    .addHelpText('after', '\nExamples:\n  mesh uninject meshed.yaml\n  mesh uninject meshed.yaml | mesh apply -f -')
    .action((args: string[]) => editManifests(context, args, { mode: 'uninject' }));
}
