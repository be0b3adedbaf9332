/** What one more connection, or one more stream, costs each proxy in memory. */
import { setTimeout as wait } from 'node:timers/promises';
import { markdown } from '../markdown.ts';
import type { Pair } from '../pair.ts';
import { program } from '../program.ts';
import { usage } from '../usage.ts';
import { Counter } from './counter.ts';
import type { Ground, Outcome, Section } from './section.ts';

const wanted = 10_000;
const perConnection = 100;
/** A proxy of this mesh gives back what only its start needed five seconds after it. */
const settleMs = 6_000;

interface Row {
  peer: string;
  /** That were held. */
  count: number;
  /** KiB for each, in the client's and the server's proxy. */
  rss: [number, number];
  private: [number, number];
  /** MiB with all of them, of both proxies together. */
  total: number;
}

/** What the memory of both proxies grows by while something is held. */
async function held(ground: Ground, pair: Pair, hold: () => Promise<{ count: number; end(): Promise<void> }>) {
  await wait(settleMs);
  const before = await Promise.all(pair.proxies.map(usage));
  const { count, end } = await hold();
  await wait(2000);
  const after = await Promise.all(pair.proxies.map(usage));
  await end();
  const each = (field: 'rss' | 'private') =>
    [0, 1].map((index) => (after[index]![field] - before[index]![field]) / 1024 / Math.max(1, count)) as [
      number,
      number,
    ];
  const row: Row = {
    ...{ peer: pair.peer.name, count, rss: each('rss'), private: each('private') },
    total: after.reduce((sum, one) => sum + one.rss, 0) / 2 ** 20,
  };
  ground.say(
    `${row.peer}: ${count} held, private KiB each: client ${row.private[0].toFixed(1)}, server ${row.private[1].toFixed(1)}`,
  );
  return row;
}

function outcome(rows: Row[], what: string): Outcome {
  const cells = rows.map(({ peer, count, rss, private: own, total }) => [
    peer,
    String(count),
    ...[...own, ...rss].map((one) => one.toFixed(1)),
    total.toFixed(0),
  ]);
  const head = [
    'proxy pair',
    what,
    'private KiB each, client',
    'server',
    'RSS KiB each, client',
    'server',
    'RSS MB of both',
  ];
  return { table: markdown(head, cells, [0]), data: rows };
}

export const connections: Section = {
  name: 'idle',
  title: 'Idle connections',
  about: `${wanted} connections of clients, each of which had one answer and is kept: what the memory of both proxies grew by, for each. Once per pair, in its turn.`,
  protocol: 'http1',
  alone: true,
  run: async (ground) => {
    const rows: Row[] = [];
    for (const pair of ground.pairs)
      rows.push(
        await held(ground, pair, async () => {
          const clients = new Counter(ground.inside(pair)(...program('hold/connections.ts', pair.url, String(wanted))));
          await clients.settled(1);
          return { count: clients.last, end: () => clients.end() };
        }),
      );
    return outcome(rows, 'connections');
  },
};

export const streams: Section = {
  name: 'streams',
  title: 'Streams',
  about: `${wanted} requests of HTTP/2 that are never answered, ${perConnection} on a connection: what the memory of both proxies grew by, for each. Once per pair, in its turn.`,
  protocol: 'http2',
  alone: true,
  run: async (ground) => {
    const rows: Row[] = [];
    for (const pair of ground.pairs) {
      const silent = new Counter(ground.inside(pair, 'server')(...program('hold/silent.ts')));
      rows.push(
        await held(ground, pair, async () => {
          const args = [`${pair.url}hold`, String(wanted), String(perConnection)];
          const clients = new Counter(ground.inside(pair)(...program('hold/streams.ts', ...args)));
          await silent.settled(wanted);
          return { count: silent.last, end: () => clients.end() };
        }),
      );
      await silent.end();
    }
    return outcome(rows, 'streams');
  },
};
