/** Writes the redirect rules with nft into the network namespace that nft runs in. */
import type { SkippedPorts } from '../../protocol/redirect.ts';
import { redirectRules } from './redirect-rules.ts';

export interface NftResult {
  /** Where nft could not be started. */
  error?: Error | undefined;
  status: number | null;
  stderr: string;
}

export class RulesError extends Error {
  /** nft is not there, a right is, or the kernel lacks what a rule takes. */
  readonly why: 'missing' | 'denied' | 'refused';

  constructor(why: RulesError['why'], message: string) {
    super(message);
    this.why = why;
  }
}

/**
 * `run` gives a script to `nft -f -`. Returns why TCP probes find the proxy's port open before the application's, where
 * the kernel cannot do better.
 * @throws RulesError
 */
export function writeRules(run: (script: string) => NftResult, skipped: SkippedPorts): string | undefined {
  const first = run(redirectRules({ ...skipped, listeningOnly: true }));
  if (!first.error && first.status === 0) return undefined;
  check(first, true);
  check(run(redirectRules({ ...skipped, listeningOnly: false })), false);
  return first.stderr.trim();
}

/** `lenient` lets a refusal pass. */
function check({ error, status, stderr }: NftResult, lenient: boolean): void {
  if (error) throw new RulesError('missing', `cannot run nft (${error.message})`);
  if (status === 0) return;
  const denied = /not permitted|permission/i.test(stderr);
  if (denied) throw new RulesError('denied', `not allowed to write nft rules: ${stderr.trim()}`);
  if (!lenient) throw new RulesError('refused', `nft refused the rules: ${stderr.trim()}`);
}
