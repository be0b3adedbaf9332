/** Decodes HPACK's Huffman code (RFC 7541 section 5.2), four bits at a step. */
import { huffmanLengths } from './hpack-tables.ts';

const endOfString = 256;

/** Children of the code's inner nodes: another node, or ~symbol; 0 is the root. */
function buildTree(): number[][] {
  const lengths = [...huffmanLengths, 30];
  const order = lengths.map((_, symbol) => symbol).sort((a, b) => lengths[a]! - lengths[b]! || a - b);
  const nodes: number[][] = [[0, 0]];
  let code = 0;
  let previous = 0;
  for (const symbol of order) {
    const length = lengths[symbol]!;
    code *= 2 ** (length - previous);
    previous = length;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const branch = Math.floor(code / 2 ** bit) % 2;
      if (bit === 0) nodes[node]![branch] = ~symbol;
      else {
        if (nodes[node]![branch] === 0) nodes[node]![branch] = nodes.push([0, 0]) - 1;
        node = nodes[node]![branch]!;
      }
    }
    code++;
  }
  return nodes;
}

/** Per node and four bits: the next node × 512 + the symbol passed on the way + 1, or 0 for none; -1 where it fails. */
function buildSteps(nodes: number[][]): Int32Array {
  const steps = new Int32Array(nodes.length * 16);
  for (let start = 0; start < nodes.length; start++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = start;
      let symbol = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = nodes[node]![(bits >> bit) & 1]!;
        node = Math.max(next, 0);
        if (next < 0) symbol = ~next === endOfString ? -1 : ~next + 1;
        if (symbol < 0) break;
      }
      steps[start * 16 + bits] = symbol < 0 ? -1 : node * 512 + symbol;
    }
  }
  return steps;
}

/** Nodes that a string may end at: at most seven bits, all ones, into a code (the start of end of string). */
function buildEnds(nodes: number[][]): Uint8Array {
  const ends = new Uint8Array(nodes.length);
  for (let node = 0, depth = 0; depth < 8; depth++) {
    ends[node] = 1;
    node = nodes[node]![1]!;
  }
  return ends;
}

const tree = buildTree();
const steps = buildSteps(tree);
const ends = buildEnds(tree);

/** The text of `bytes` from `start` to `end`, latin1; undefined where it is no proper code. */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string | undefined {
  let node = 0;
  const text = Buffer.allocUnsafe(Math.ceil(((end - start) * 8) / 5));
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    const first = steps[node * 16 + (byte >> 4)]!;
    if (first < 0) return undefined;
    if (first & 511) text[length++] = (first & 511) - 1;
    const second = steps[(first >> 9) * 16 + (byte & 15)]!;
    if (second < 0) return undefined;
    if (second & 511) text[length++] = (second & 511) - 1;
    node = second >> 9;
  }
  return ends[node] ? text.toString('latin1', 0, length) : undefined;
}
