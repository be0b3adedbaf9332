/** How the results of `mesh check` look, one by one as they come. */
import type { Result } from '../checks/run.ts';
import type { Io } from '../io.ts';

const marks = { success: 'ok', warning: 'warning', error: 'error', skipped: 'skipped' } as const;

/** The lines of one result; a category's name comes with its first. */
export function renderCheck(io: Io, one: Result, before: string | undefined): string {
  const title = `${one.category}\n${'-'.repeat(one.category.length)}\n`;
  const heading = one.category === before ? '' : before === undefined ? title : `\n${title}`;
  const detail = one.result === 'skipped' ? ` (skipped: ${one.detail})` : one.detail ? ` (${one.detail})` : '';
  const lines = [`${io.mark(marks[one.result], 'stdout')} ${one.description}${detail}`];
  if (one.error) lines.push(...one.error.split('\n').map((line) => `    ${line}`));
  if (one.fix) lines.push(`    fix: ${one.fix}`);
  if (one.hint) lines.push(`    docs: ${one.hint}`);
  return `${heading}${lines.join('\n')}\n`;
}

/** The last line, where the eye rests. */
export function renderVerdict(io: Io, results: readonly Result[]): string {
  const count = (result: Result['result']): number => results.filter((one) => one.result === result).length;
  const [errors, warnings, skipped] = [count('error'), count('warning'), count('skipped')];
  const parts = [
    errors > 0 ? `${errors} failed` : '',
    warnings > 0 ? `${warnings} ${warnings === 1 ? 'warning' : 'warnings'}` : '',
    skipped > 0 ? `${skipped} skipped` : '',
  ].filter((part) => part !== '');
  const mark = io.mark(errors > 0 ? 'error' : 'ok', 'stdout');
  return `Status check results are ${mark}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}\n`;
}

/** `{ success, categories: [{ categoryName, checks }] }`: the field's usual shape. */
export function checkReport(results: readonly Result[]): object {
  const names = [...new Set(results.map((one) => one.category))];
  const categories = names.map((categoryName) => ({
    categoryName,
    checks: results.filter((one) => one.category === categoryName).map(({ category: _, ...rest }) => rest),
  }));
  return { success: results.every((one) => one.result !== 'error'), categories };
}
