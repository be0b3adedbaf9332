/** A benchmark's part of docs/benchmarks.md, between two marks: each is written anew without touching the others. */
import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';

const file = 'docs/benchmarks.md';

/** @throws Error where the document has no place for it */
export async function writeSection(name: string, text: string): Promise<void> {
  const [begin, end] = [`<!-- ${name}: written by the benchmark -->`, `<!-- ${name}: end -->`];
  const document = await readFile(file, 'utf8');
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no "${begin}" before "${end}"`);
  await writeFile(file, `${document.slice(0, from + begin.length)}\n\n${text.trimEnd()}\n\n${document.slice(to)}`);
  process.stderr.write(`wrote ${file}\n`);
}

/** When and where it ran. */
export function circumstances(): string {
  const processor = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`;
  return `on ${new Date().toISOString().slice(0, 10)}, ${processor}, Linux, Node ${process.versions.node}`;
}
