/** `mesh version`: of this command line, of the control plane and of the proxies, and whether they fit. */
import type { Command } from 'commander';
import type { ControlStatus, ProxiesResponse } from '../../protocol/api.ts';
import { version } from '../../protocol/version.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { isData, outputOption, writeData } from '../output.ts';
import { renderWarning } from '../render/error.ts';
import { renderTable } from '../render/table.ts';

type Skew = 'none' | 'patch' | 'minor' | 'major';

export interface Versions {
  control: string;
  proxies: { version: string; count: number }[];
}

/** The first part in which two versions differ. */
export function skewOf(a: string, b: string): Skew {
  const [one, two] = [a.split('.'), b.split('.')];
  if (one[0] !== two[0]) return 'major';
  if (one[1] !== two[1]) return 'minor';
  return a === b ? 'none' : 'patch';
}

/** One minor version apart is what an upgrade passes through. */
export function tooFar(a: string, b: string): boolean {
  const minor = (text: string): number => Number(text.split('.')[1] ?? 0);
  const skew = skewOf(a, b);
  return skew === 'major' || (skew === 'minor' && Math.abs(minor(a) - minor(b)) > 1);
}

/** Of the control plane and the proxies. @throws CliError where it does not answer */
export async function askVersions(context: Context): Promise<Versions> {
  const { openControl } = await import('../control-api.ts');
  const api = await openControl(context);
  const [{ version: control }, { proxies }] = await Promise.all([
    api.get<ControlStatus>('/v1/status'),
    api.get<ProxiesResponse>('/v1/proxies'),
  ]);
  const counts = new Map<string, number>();
  for (const proxy of proxies) counts.set(proxy.version, (counts.get(proxy.version) ?? 0) + 1);
  return { control, proxies: [...counts].sort().map(([one, count]) => ({ version: one, count })) };
}

export function register(program: Command, context: Context): void {
  program
    .command('version')
    .description('Show the version of the command line, the control plane and the proxies')
    .option('--client', 'of the command line only')
    .addOption(outputOption(['table', 'short', 'json', 'yaml']))
    .addHelpText('after', '\nExamples:\n  mesh version\n  mesh version --client\n  mesh version -o json')
    .action(async ({ client, output }: { client?: boolean; output: string }) => {
      const { io } = context;
      let found: Versions | undefined;
      let problem: unknown;
      if (!client) {
        found = await askVersions(context).catch((error: unknown) => {
          context.signal.throwIfAborted();
          problem = error;
          return undefined;
        });
      }
      const control = found?.control ?? null;
      const skew = control === null ? null : skewOf(version, control);
      if (isData(output)) {
        const known = client ? {} : { control_plane: control, skew, proxies: found?.proxies ?? [] };
        await writeData(io, output, { client: version, ...known });
      } else if (output === 'short') {
        io.write(client ? `${version}\n` : `${version}\n${control ?? 'unavailable'}\n`);
      } else if (client) {
        io.write(`client ${version}\n`);
      } else {
        const proxies = (found?.proxies ?? []).map((one) => [
          `proxies(${one.count})`,
          one.version,
          skewOf(version, one.version),
        ]);
        io.write(
          renderTable(
            ['COMPONENT', 'VERSION', 'SKEW'],
            [['client', version, ''], ['control-plane', control ?? 'unavailable', skew ?? ''], ...proxies],
          ),
        );
      }
      if (problem !== undefined) {
        const fix = problem instanceof CliError ? ` (${problem.fix})` : '';
        renderWarning(io, `${problem instanceof Error ? problem.message : String(problem)}${fix}`);
      }
      if (control !== null && tooFar(version, control)) {
        renderWarning(
          io,
          `Command line ${version} and control plane ${control} are more than one minor version apart; upgrade the older`,
        );
      }
      if (control !== null) io.hint('Next: mesh check');
    });
}
