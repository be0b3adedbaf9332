/** Columns of text: no spaces inside cells, `-` for nothing. */

const gap = '  ';

/** `paint` may colour a padded cell, by its row and column; the header is row -1. */
export function renderTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  paint: (text: string, row: number, column: number) => string = (text) => text,
): string {
  const cells = [header, ...rows].map((row) => row.map((cell) => (cell === '' ? '-' : cell.replaceAll(/\s+/g, '_'))));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row, index) => {
      const last = row.length - 1;
      const padded = row.map((cell, column) => {
        const text = column === last ? cell : cell.padEnd(widths[column] ?? 0);
        return paint(cell, index - 1, column) + text.slice(cell.length);
      });
      return `${padded.join(gap)}\n`;
    })
    .join('');
}
