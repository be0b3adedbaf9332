/** Turns a change of a document's value into insertions and deletions of its text; all other bytes stay. */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type Pair, stringify, type YAMLMap } from 'yaml';

export interface Edit {
  start: number;
  end: number;
  text: string;
}

/** The text is laid out in a way that cannot be edited in place. */
export class LayoutError extends Error {}

type Plain = Record<string, unknown>;

const isPlain = (value: unknown): value is Plain =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

export class YamlEditor {
  readonly #source: string;
  readonly #eol: string;
  readonly edits: Edit[] = [];

  constructor(source: string) {
    this.#source = source;
    this.#eol = source.includes('\r\n') ? '\r\n' : '\n';
  }

  /** Records the edits that make the text of `node` say `after` instead of `before`. */
  change(node: Node | null | undefined, before: unknown, after: unknown): void {
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    if (isAlias(node)) throw new LayoutError('an alias stands where the proxy has to be written; write it out');
    if (isMap(node) && isPlain(before) && isPlain(after)) {
      if (node.anchor) throw new LayoutError(`anchor &${node.anchor} would carry the change elsewhere; write it out`);
      this.#changeMap(node, before, after);
    } else if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) {
      if (node.anchor) throw new LayoutError(`anchor &${node.anchor} would carry the change elsewhere; write it out`);
      this.#changeList(node.items as Node[], node, before, after);
    } else if (isScalar(node) && before === null && after !== null && node.source === '') {
      this.#push(node.range![0], node.range![0], ` ${JSON.stringify(after)}`);
    } else if ((isMap(node) || isSeq(node)) && after === null) {
      this.#push(node.range![0] - 1, node.range![1], '');
    } else throw new LayoutError('a field is an explicit null; remove it');
  }

  #push(start: number, end: number, text: string): void {
    this.edits.push({ start, end, text });
  }

  #changeMap(node: YAMLMap, before: Plain, after: Plain): void {
    const pairs = node.items as Pair<Node, Node | null>[];
    const starts = pairs.map((pair) => this.#start(pair.key));
    const ends = pairs.map((pair) => (pair.value ?? pair.key).range![1]);
    const keys = pairs.map((pair) => String(isScalar(pair.key) ? pair.key.value : pair.key));
    const removed = keys.map((key) => Object.hasOwn(before, key) && !Object.hasOwn(after, key));
    this.#remove(removed, starts, ends, node);
    pairs.forEach((pair, index) => {
      const key = keys[index]!;
      if (!removed[index] && Object.hasOwn(before, key)) this.change(pair.value, before[key], after[key]);
    });
    const added = Object.keys(after).filter((key) => !Object.hasOwn(before, key));
    const texts = added.map((key) =>
      node.flow ? `${JSON.stringify(key)}: ${JSON.stringify(after[key])}` : this.#block({ [key]: after[key] }),
    );
    this.#insert(texts, starts[0], node);
  }

  #changeList(items: Node[], node: Node & { flow?: boolean }, before: unknown[], after: unknown[]): void {
    const count = after.length - before.length;
    const starts = items.map((item, index) => (node.flow ? this.#start(item) : this.#dash(item, node, index)));
    if (count < 0) {
      this.#remove(
        items.map((_, index) => index < -count),
        starts,
        items.map((item) => item.range![1]),
        node,
      );
      return;
    }
    const texts = after.slice(0, count).map((item) => (node.flow ? JSON.stringify(item) : this.#block([item])));
    this.#insert(texts, starts[0], node);
  }

  #insert(texts: string[], first: number | undefined, node: Node & { flow?: boolean }): void {
    if (texts.length === 0) return;
    if (node.flow) {
      const at = first ?? node.range![0] + 1;
      this.#push(at, at, texts.join(', ') + (first === undefined ? '' : ', '));
      return;
    }
    if (first === undefined) throw new LayoutError('an empty block cannot be edited');
    const lineStart = this.#source.lastIndexOf('\n', first - 1) + 1;
    const lead = this.#source.slice(lineStart, first);
    if (!/^\uFEFF?[ -]*$/.test(lead)) throw new LayoutError('the text is laid out in a way that cannot be edited');
    const indent = ' '.repeat(lead.replace('\uFEFF', '').length);
    const lines = texts.flatMap((text) => text.split('\n'));
    this.#push(first, first, lines.map((line) => line + this.#eol + indent).join(''));
  }

  #remove(removed: boolean[], starts: number[], ends: number[], node: Node & { flow?: boolean }): void {
    removed.forEach((gone, index) => {
      if (!gone) return;
      const next = starts[index + 1];
      if (next !== undefined) this.#push(starts[index]!, next, '');
      else if (node.flow) {
        const kept = removed.lastIndexOf(false);
        this.#push(kept >= 0 ? Math.max(ends[kept]!, ends[index - 1] ?? 0) : starts[index]!, ends[index]!, '');
      } else this.#push(ends[index - 1] ?? starts[index]!, ends[index]!, '');
    });
  }

  #start(node: Node): number {
    return node.range![0];
  }

  /** Offset of the `-` of a block sequence's item. */
  #dash(item: Node, node: Node, index: number): number {
    if (index === 0) return node.range![0];
    return this.#source.lastIndexOf('-', item.range![0] - 1);
  }

  #block(value: unknown): string {
    return stringify(value, { lineWidth: 0, defaultStringType: 'PLAIN' }).trimEnd();
  }

  /** The text with all edits in it. */
  result(): string {
    let text = this.#source;
    for (const edit of [...this.edits].sort((a, b) => b.start - a.start || b.end - a.end)) {
      text = text.slice(0, edit.start) + edit.text + text.slice(edit.end);
    }
    return text;
  }
}

/** Node at a path of keys and indices. */
export function nodeAt(document: Document, path: (string | number)[]): Node | null | undefined {
  return path.length === 0
    ? (document.contents as Node | null)
    : (document.getIn(path, true) as Node | null | undefined);
}
