/** How an error looks: what, why, fix, where to read; or JSON. */
import { CliError, docsBase } from '../errors.ts';
import type { Io } from '../io.ts';

export function renderError(io: Io, error: unknown, json: boolean): void {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof CliError ? error.code : 'internal';
  const hint = error instanceof CliError ? error.fix : 'run again with --debug to see where it comes from';
  const docs = error instanceof CliError ? error.docs : `${docsBase}/errors#internal`;
  if (json) {
    io.error(JSON.stringify({ error: { code, message, hint: hint ?? null, docs } }));
    return;
  }
  const mark = io.unicode ? '✗' : 'x';
  io.error(`${io.stderrColor ? `\x1b[31m${mark}\x1b[0m` : mark} ${message}`);
  if (code !== 'usage') {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
    if (cause !== undefined && !message.includes(cause)) io.error(`  why: ${cause}`);
  }
  if (hint !== undefined) io.error(`  fix: ${hint}`);
  if (code !== 'usage') io.error(`  docs: ${docs}`);
  if (io.debug && error instanceof Error && error.stack) io.error(error.stack);
}

/** A warning that names its object; silenced by --quiet. */
export function renderWarning(io: Io, text: string): void {
  const mark = io.unicode ? '‼' : '!!';
  io.note(`${io.stderrColor ? `\x1b[33m${mark}\x1b[0m` : mark} ${text}`);
}
