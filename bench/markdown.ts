/** A table in Markdown; `left` columns hold words, the others figures. */
export function markdown(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = line(head.map((_, index) => (left.includes(index) ? '---' : '---:')));
  return [line(head), rule, ...rows.map(line)].join('\n');
}
