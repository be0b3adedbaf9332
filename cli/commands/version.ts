/** `mesh version`: of this CLI, of the control plane, and whether they fit. */
import { type Command, Option } from 'commander';
import type { ControlStatus } from '../../protocol/api.ts';
import { version } from '../../protocol/version.ts';
import type { Context } from '../context.ts';
import { renderWarning } from '../render/error.ts';

/** Minor versions apart; infinite across major versions. */
function skew(a: string, b: string): number {
  const [majorA, minorA] = a.split('.').map(Number);
  const [majorB, minorB] = b.split('.').map(Number);
  return majorA === majorB ? Math.abs((minorA ?? 0) - (minorB ?? 0)) : Number.POSITIVE_INFINITY;
}

async function serverVersion(context: Context): Promise<string> {
  const { controlApi } = await import('../control-api.ts');
  const api = await controlApi(await context.kube());
  return (await api.get<ControlStatus>('/v1/status')).version;
}

/** Rejects after this many milliseconds. */
function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds / 1000} s`)), milliseconds);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export function register(program: Command, context: Context): void {
  program
    .command('version')
    .description('Show the version of the CLI and of the control plane')
    .option('--client', 'of the CLI only')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addHelpText('after', '\nExamples:\n  mesh version\n  mesh version --client\n  mesh version -o json')
    .action(async (options: { client?: boolean; output: string }) => {
      const { io } = context;
      let server: string | null = null;
      let problem: string | undefined;
      if (!options.client) {
        try {
          server = await within(3000, serverVersion(context));
        } catch (error) {
          problem = error instanceof Error ? error.message : String(error);
        }
      }
      if (options.output === 'json') {
        const known = options.client ? {} : { server, skew: server === null ? null : server !== version };
        io.write(`${JSON.stringify({ client: version, ...known })}\n`);
      } else {
        io.write(`client ${version}\n`);
        if (!options.client) io.write(`server ${server ?? 'unavailable'}\n`);
      }
      if (problem !== undefined) io.note(`server unavailable: ${problem}`);
      if (server !== null && skew(version, server) > 1) {
        renderWarning(io, `CLI ${version} and control plane ${server} are more than one minor version apart`);
      }
    });
}
