/** A part of `npm run bench`: pairs of one protocol under one kind of load, as a table. */
import type { Inside } from '../h2load.ts';
import type { Pair } from '../pair.ts';
import type { Protocol } from '../peers/peer.ts';

export interface Ground {
  pairs: Pair[];
  /** Asked directly, without proxies. */
  direct: Pair;
  /** The command line that runs a program in the client's pod of a pair, or in the server's. */
  inside(pair: Pair, side?: 'client' | 'server'): Inside;
  rounds: number;
  seconds: number;
  /** Of HTTP/1.1 throughput. */
  connections: number[];
  say(text: string): void;
}

export interface Outcome {
  /** In Markdown. */
  table: string;
  /** For --json. */
  data: object;
}

export interface Section {
  /** For --only, and the mark in docs/benchmarks.md. */
  name: string;
  title: string;
  /** What the figures are, for docs/benchmarks.md. */
  about: string;
  protocol: Protocol;
  /** In a mesh of its own: memory that another load left behind would hide what this one takes. */
  alone?: true;
  run(ground: Ground): Promise<Outcome>;
}
