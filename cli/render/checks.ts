/** How the results of `mesh check` look, one by one as they come. */
import type { Result } from '../checks/run.ts';
import { counted } from '../counted.ts';
import type { Io } from '../io.ts';

const marks = { success: 'ok', warning: 'warning', error: 'error', skipped: 'skipped' } as const;

/** Writes results as lines: a category's name comes with its first, and one that is skipped as a whole takes one line. */
export class CheckScreen {
  readonly #io: Io;
  readonly #short: boolean;
  #category: string | undefined;
  #skipped: string | undefined;

  /** `short` shows only what is not well. */
  constructor(io: Io, short: boolean) {
    this.#io = io;
    this.#short = short;
  }

  write(one: Result): void {
    const { category, result } = one;
    if ((this.#short && (result === 'success' || result === 'skipped')) || this.#skipped === category) return;
    const title = `${category}\n${'-'.repeat(category.length)}\n`;
    const first = this.#category !== category;
    const gap = this.#category === undefined ? '' : '\n';
    if (first && result === 'skipped') this.#skipped = category;
    this.#io.write(`${first ? gap + title : ''}${this.#lines(one)}`);
    this.#category = category;
  }

  verdict(results: readonly Result[]): void {
    this.#io.write(`${this.#category === undefined ? '' : '\n'}${verdict(this.#io, results)}`);
  }

  #lines({ category, result, description, detail, error, fix, hint }: Result): string {
    const mark = this.#io.mark(marks[result], 'stdout');
    if (this.#skipped === category) return `${mark} skipped: ${detail}\n`;
    const aside = detail === undefined ? '' : ` (${result === 'skipped' ? 'skipped: ' : ''}${detail})`;
    const lines = [`${mark} ${description}${aside}`];
    if (error) lines.push(...error.split('\n').map((line) => `    ${line}`));
    if (fix) lines.push(`    fix: ${fix}`);
    if (hint) lines.push(`    docs: ${hint}`);
    return `${lines.join('\n')}\n`;
  }
}

/** The last line, where the eye rests. */
function verdict(io: Io, results: readonly Result[]): string {
  const count = (result: Result['result']): number => results.filter((one) => one.result === result).length;
  const [errors, warnings, skipped] = [count('error'), count('warning'), count('skipped')];
  const parts = [
    errors > 0 ? `${errors} failed` : '',
    warnings > 0 ? counted(warnings, 'warning', 'warnings') : '',
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
