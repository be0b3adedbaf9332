/** The word a user most likely meant. */

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}

/** The choice at most two edits away, and fewer than half of the word's letters; undefined where none is. */
export function nearest(word: string, choices: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  const [best] = choices
    .map((choice) => ({ choice, edits: distance(lower, choice) }))
    .filter(({ edits }) => edits <= 2 && edits * 2 < Math.max(lower.length, 2))
    .sort((a, b) => a.edits - b.edits);
  return best?.choice;
}
