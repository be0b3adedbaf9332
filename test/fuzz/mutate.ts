/** Changes at the level of lines and bytes, made to what the grammar gave. Texts are latin1: one character, one byte. */
import type { Random } from './random.ts';

const bytes = '\0\t\n\x0b\x0c\r "\'(),/:;<=>?@[\\]{}0159aAfFxX+-._#%\x7f\x80\x85\xa0\xff';
const lineEnds = [
  '\n',
  '\r',
  '\r\r\n',
  '\n\r',
  ' \r\n',
  '\t\r\n',
  '\0\r\n',
  '\r\n\r\n',
  '\r\n ',
  '\r\n\t',
  '',
  '\x0b\r\n',
];

type Mutation = (text: string, random: Random) => string;

const splice = (text: string, at: number, length: number, put: string): string =>
  text.slice(0, at) + put + text.slice(at + length);

const place = (text: string, random: Random): number => random.below(text.length + 1);

/** The offset of some line's CRLF; -1 where there is none. */
function lineEnd(text: string, random: Random): number {
  const ends = [...text.matchAll(/\r\n/g)];
  return ends.length === 0 ? -1 : random.pick(ends).index;
}

const mutations: Mutation[] = [
  (text, random) => splice(text, place(text, random), 0, random.pick([...bytes])),
  (text, random) => splice(text, place(text, random), 1, random.pick([...bytes])),
  (text, random) => splice(text, place(text, random), 1 + random.below(3), ''),
  (text, random) => {
    const at = random.below(Math.max(1, text.length));
    return splice(text, at, 1, String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << random.below(8))));
  },
  (text, random) => {
    const at = lineEnd(text, random);
    return at < 0 ? text : splice(text, at, 2, random.pick(lineEnds));
  },
  // A line once more, perhaps in another place.
  (text, random) => {
    const lines = text.split('\r\n');
    lines.splice(random.below(lines.length + 1), 0, random.pick(lines));
    return lines.join('\r\n');
  },
  (text, random) => {
    const lines = text.split('\r\n');
    lines.splice(random.below(lines.length), 1);
    return lines.join('\r\n');
  },
  (text, random) => {
    const from = place(text, random);
    return splice(text, place(text, random), 0, text.slice(from, from + 1 + random.below(12)));
  },
  // A digit of a size or length.
  (text, random) => {
    const digits = [...text.matchAll(/[0-9a-f]/gi)];
    if (digits.length === 0) return text;
    return splice(text, random.pick(digits).index, 1, random.pick(['0', '1', '5', '9', 'a', 'F', '00', '']));
  },
  (text, random) => {
    const at = place(text, random);
    const length = 1 + random.below(10);
    const part = text.slice(at, at + length);
    return splice(text, at, length, random.chance(0.5) ? part.toUpperCase() : part.toLowerCase());
  },
];

/** With none to three changes. */
export function mutate(text: string, random: Random): string {
  let changed = text;
  for (let count = random.pick([0, 0, 1, 1, 1, 2, 3]); count > 0; count--) {
    changed = random.pick(mutations)(changed, random);
  }
  return changed;
}

/** Cuts a text in up to four parts, mostly in none. */
export function cut(text: string, random: Random): Buffer[] {
  const whole = Buffer.from(text, 'latin1');
  if (random.chance(0.65)) return [whole];
  const cuts = Array.from({ length: 1 + random.below(3) }, () => random.below(whole.length + 1)).sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => whole.subarray(from, cuts[i] ?? whole.length)).filter((part) => part.length > 0);
}
