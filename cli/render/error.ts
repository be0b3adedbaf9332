/** How an error looks: what, why, fix, where to read; or JSON. */
import { CliError, docsBase, errorTable } from '../errors.ts';
import type { Io } from '../io.ts';

export function renderError(io: Io, thrown: unknown, json: boolean): void {
  const error = thrown instanceof CliError ? thrown : undefined;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = error?.code ?? 'internal';
  const hint = error?.fix ?? errorTable.internal.fix;
  const docs = error?.docs ?? `${docsBase}/errors#internal`;
  if (json) {
    io.error(JSON.stringify({ error: { code, message, hint, docs } }));
  } else {
    io.error(`${io.mark('error')} ${message}`);
    // What the user wanted needs no advice.
    if (code === 'interrupted' || code === 'declined') return;
    if (code !== 'usage') {
      const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause.message : undefined;
      const said = cause !== undefined && message.toLowerCase().includes(cause.replace(/\.$/, '').toLowerCase());
      if (cause !== undefined && !said) io.error(`  why: ${cause}`);
    }
    io.error(`  fix: ${hint}`);
    if (code !== 'usage') io.error(`  docs: ${docs}`);
  }
  if (io.debug && thrown instanceof Error && thrown.stack) io.error(thrown.stack);
}

/** A warning that names its object; silenced by --quiet. */
export function renderWarning(io: Io, text: string): void {
  io.note(`${io.mark('warning')} ${text}`);
}
