/** Turns a change of a document's value into insertions and deletions of its text; all other bytes stay. */
import {
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  stringify,
  visit,
  type YAMLMap,
} from 'yaml';

export interface Edit {
  start: number;
  end: number;
  text: string;
}

/** The text is laid out in a way that cannot be edited in place. */
export class LayoutError extends Error {}

type Plain = Record<string, unknown>;

interface Style {
  indent: number;
  indentSeq: boolean;
}

const isPlain = (value: unknown): value is Plain =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

export class YamlEditor {
  readonly #source: string;
  readonly #eol: string;
  readonly #style: Style;
  readonly #aliased = new Set<string>();
  #inFlow = false;
  readonly edits: Edit[] = [];

  constructor(source: string, document: Document) {
    this.#source = source;
    this.#eol = source.includes('\r\n') ? '\r\n' : '\n';
    this.#style = styleOf(source, document);
    visit(document, { Alias: (_, alias) => void this.#aliased.add(alias.source) });
  }

  /** Records the edits that make the text of `node` say `after` instead of `before`. */
  change(node: Node | null | undefined, before: unknown, after: unknown): void {
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    if (isAlias(node)) throw new LayoutError('an alias stands where the proxy has to be written; write it out');
    if ((isMap(node) || isSeq(node)) && node.anchor && this.#aliased.has(node.anchor)) {
      throw new LayoutError(`anchor &${node.anchor} would carry the change to its aliases; write them out`);
    }
    if (isMap(node) && isPlain(before) && isPlain(after)) this.#changeMap(node, before, after);
    else if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) {
      this.#changeList(node.items as Node[], node, before, after);
    } else if (isScalar(node) && before === null && after !== null) {
      const [start, end] = node.range!;
      const text = JSON.stringify(after);
      if (node.source === '') {
        // right after the colon, so that a comment keeps the blank before it
        const colon = this.#source.slice(0, start).trimEnd().length;
        this.#push(colon, colon, ` ${text}`);
      } else if (!this.#inFlow) this.#push(start, start, `${text} # `);
      else if (node.source === 'null') this.#push(start, end, text);
      else throw new LayoutError(`"${node.source}" stands where the proxy has to be written; write null or remove it`);
    } else if ((isMap(node) || isSeq(node)) && after === null) {
      const [start, end] = node.range!;
      const aside = /^ # (?=null|~)/i.exec(this.#source.slice(end, end + 10));
      if (aside) this.#push(start, end + aside[0].length, '');
      else if (this.#inFlow) this.#push(start, end, 'null');
      else this.#push(start - 1, end, '');
    } else throw new LayoutError('a field holds another kind of value than Kubernetes has there; correct it');
  }

  #push(start: number, end: number, text: string): void {
    this.edits.push({ start, end, text });
  }

  #changeMap(node: YAMLMap, before: Plain, after: Plain): void {
    const pairs = node.items as Pair<Node, Node | null>[];
    const outer = this.#inFlow;
    this.#inFlow ||= node.flow === true;
    const starts = node.flow ? pairs.map((pair) => pair.key.range![0]) : blockStarts(node);
    const ends = pairs.map((pair) => (pair.value ?? pair.key).range![1]);
    const keys = pairs.map((pair) => String(isScalar(pair.key) ? pair.key.value : pair.key));
    const removed = keys.map((key) => Object.hasOwn(before, key) && !Object.hasOwn(after, key));
    this.#remove(removed, starts, ends, node);
    pairs.forEach((pair, index) => {
      const key = keys[index]!;
      if (!removed[index] && Object.hasOwn(before, key)) this.change(pair.value, before[key], after[key]);
    });
    for (const key of Object.keys(before)) {
      if (!keys.includes(key) && JSON.stringify(before[key]) !== JSON.stringify(after[key])) {
        throw new LayoutError(`a merge key (<<) brings in ${key}; write it out`);
      }
    }
    const added = Object.keys(after).filter((key) => !Object.hasOwn(before, key));
    const texts = added.map((key) =>
      node.flow ? `${JSON.stringify(key)}: ${this.#json(after[key], starts[0])}` : this.#block({ [key]: after[key] }),
    );
    this.#insert(texts, starts[0], node);
    this.#inFlow = outer;
  }

  #changeList(items: Node[], node: Node & { flow?: boolean }, before: unknown[], after: unknown[]): void {
    const count = after.length - before.length;
    const starts = node.flow ? items.map((item) => item.range![0]) : blockStarts(node);
    if (count < 0) {
      this.#remove(
        items.map((_, index) => index < -count),
        starts,
        items.map((item) => item.range![1]),
        node,
      );
      return;
    }
    const texts = after.slice(0, count).map((item) => (node.flow ? this.#json(item, starts[0]) : this.#block([item])));
    this.#insert(texts, starts[0], node);
  }

  #insert(texts: string[], first: number | undefined, node: Node & { flow?: boolean }): void {
    if (texts.length === 0) return;
    if (node.flow) {
      const at = first ?? node.range![0] + 1;
      const lead = first === undefined ? undefined : this.#ownLine(first);
      const separator = lead === undefined ? ', ' : `,${this.#eol}${lead}`;
      this.#push(at, at, texts.join(separator) + (first === undefined ? '' : separator));
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

  /** The blanks before `at`, where nothing else stands before it on its line. */
  #ownLine(at: number): string | undefined {
    const lead = this.#source.slice(this.#source.lastIndexOf('\n', at - 1) + 1, at);
    return lead !== '' && /^[ \t]+$/.test(lead) ? lead : undefined;
  }

  /** JSON for a flow collection: over several lines where its first item has a line of its own. */
  #json(value: unknown, first: number | undefined): string {
    const lead = first === undefined ? undefined : this.#ownLine(first);
    if (lead === undefined) return JSON.stringify(value);
    const step = lead.startsWith('\t') ? '\t' : this.#style.indent;
    return JSON.stringify(value, null, step).replaceAll('\n', this.#eol + lead);
  }

  #block(value: unknown): string {
    return stringify(value, { lineWidth: 0, defaultStringType: 'PLAIN', ...this.#style }).trimEnd();
  }
}

/** The source with all edits in it. */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  const parts: string[] = [];
  let from = 0;
  for (const edit of [...edits].sort((a, b) => a.start - b.start || a.end - b.end)) {
    parts.push(source.slice(from, edit.start), edit.text);
    from = Math.max(from, edit.end);
  }
  return parts.join('') + source.slice(from);
}

/** Offsets at which the items of a block collection start: the dash, or the key with its anchor. */
function blockStarts(node: Node): number[] {
  const items = (node.srcToken as CST.BlockMap | CST.BlockSequence).items;
  return items.flatMap((item) => {
    const blank = ['space', 'newline', 'comment'];
    const mark = item.start.find((token) => !blank.includes(token.type)) ?? item.key ?? item.sep?.[0];
    return mark === undefined || mark === null ? [] : [mark.offset];
  });
}

/** The indentation most often seen in a document, and whether lists are indented under their key. */
function styleOf(source: string, document: Document): Style {
  const column = (at: number) => at - source.lastIndexOf('\n', at - 1) - 1;
  const steps = new Map<number, number>();
  let lists = 0;
  visit(document, {
    Pair: (_, pair) => {
      const key = pair.key as Node | null;
      const value = pair.value;
      if (!key?.range || !(isMap(value) || isSeq(value)) || value.items.length === 0) return;
      const first = value.flow ? (isMap(value) ? (value.items[0]!.key as Node) : (value.items[0] as Node)) : value;
      if (!first?.range) return;
      const step = column(first.range[0]) - column(key.range[0]);
      if (isSeq(value) && !value.flow) lists += step === 0 ? -1 : 1;
      else if (step > 0 && step <= 8 && source.slice(key.range[0], first.range[0]).includes('\n')) {
        steps.set(step, (steps.get(step) ?? 0) + 1);
      }
    },
  });
  const [most] = [...steps].sort((a, b) => b[1] - a[1]);
  return { indent: most?.[0] ?? 2, indentSeq: lists >= 0 };
}

/** Node at a path of keys and indices. */
export function nodeAt(document: Document, path: (string | number)[]): Node | null | undefined {
  return path.length === 0
    ? (document.contents as Node | null)
    : (document.getIn(path, true) as Node | null | undefined);
}
