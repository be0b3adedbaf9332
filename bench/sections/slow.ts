/** What clients that take their time do to others. */
import { setTimeout as wait } from 'node:timers/promises';
import type { LoadResult } from '../../load/options.ts';
import { summarize } from '../../load/summary.ts';
import { markdown } from '../markdown.ts';
import type { Pair } from '../pair.ts';
import { program } from '../program.ts';
import { usage } from '../usage.ts';
import { Counter } from './counter.ts';
import { connections, paced, warmUpSeconds } from './latency.ts';
import type { Ground, Outcome, Section } from './section.ts';

const peers = 1_000;
const rate = 500;
/** Times `--seconds` of the other sections: what comes twice a minute, as collections of garbage do, is neither missed nor all there is. */
const stretch = 4;

interface Sides {
  quiet: LoadResult[];
  slow: LoadResult[];
  /** Of the slow ones, at the end of the last round. */
  open: number;
}

/** Until the proxies rest: what the clients ask for at first, all at once, fills the buffers on the way and is not slow. */
async function calm({ proxies }: Pair): Promise<void> {
  const used = async () => (await Promise.all(proxies.map(usage))).reduce((sum, { cpu }) => sum + cpu, 0);
  const deadline = performance.now() + 40_000;
  for (let before = await used(); performance.now() < deadline; ) {
    await wait(1000);
    const now = await used();
    if (now - before < 0.1) return;
    before = now;
  }
}

async function round(ground: Ground, pair: Pair, sides: Sides): Promise<void> {
  sides.quiet.push(await paced(ground, pair, rate, stretch * ground.seconds));
  const clients = new Counter(ground.inside(pair)(...program('hold/slow.ts', pair.url, String(peers))));
  try {
    await clients.settled(peers);
    await calm(pair);
    sides.slow.push(await paced(ground, pair, rate, stretch * ground.seconds));
    sides.open = clients.last;
  } finally {
    await clients.end();
  }
}

async function run(ground: Ground): Promise<Outcome> {
  const all = new Map<Pair, Sides>(ground.pairs.map((pair) => [pair, { quiet: [], slow: [], open: 0 }]));
  for (let count = 1; count <= ground.rounds; count++)
    for (const [pair, sides] of all) {
      await round(ground, pair, sides);
      ground.say(`round ${count}/${ground.rounds}, ${pair.peer.name}: ${sides.open} slow clients`);
    }
  const figures = [...all].map(([pair, sides]) => {
    const [quiet, slow] = [summarize(sides.quiet), summarize(sides.slow)];
    return {
      ...{ peer: pair.peer.name, open: sides.open, errors: quiet.errors + slow.errors },
      ...{ p50_ms: [quiet.latency(0.5), slow.latency(0.5)], p99_ms: [quiet.latency(0.99), slow.latency(0.99)] },
    };
  });
  const rows = figures.map(({ peer, open, errors, p50_ms, p99_ms }) => [
    peer,
    String(open),
    ...[...p50_ms, ...p99_ms].map((one) => one.toFixed(2)),
    ...[`${(p99_ms[1]! / p99_ms[0]!).toFixed(2)} ×`, String(errors)],
  ]);
  const head = [
    'proxy pair',
    'slow clients',
    'p50 ms without',
    'with',
    'p99 ms without',
    'with',
    'p99 ratio',
    'errors',
  ];
  return { table: markdown(head, rows, [0]), data: figures };
}

export const slow: Section = {
  name: 'slow',
  title: 'Slow clients',
  about: `${rate} requests per second of HTTP/1.1 over ${connections} connections that ${warmUpSeconds} seconds of the same load have opened, without and with ${peers} clients beside them that take their time: a third send a head byte by byte, a third a body, a third ask for 20 MiB and read nothing. Each request's latency counts from when it was due.`,
  protocol: 'http1',
  run,
};
