/** Asks a person at the terminal before something is changed. */
import type { Context } from './context.ts';
import { CliError } from './errors.ts';

/** Goes on after a yes only. @throws CliError `declined`, with what was not done as its message */
export async function confirm(question: string, declined: string, { io, signal }: Context): Promise<void> {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: io.streams.stdin, output: io.streams.stderr });
  // While a line is read the terminal gives Ctrl-C as a key, not as a signal.
  lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError({ code: 'declined', message: declined });
  } finally {
    lines.close();
  }
}
