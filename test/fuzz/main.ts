/**
 * `npm run fuzz`: requests and responses, well formed and not, through the proxy to other servers and clients, which
 * must read what the proxy read. Flags: --seconds N (60), --seed S (of now), --peers node,nginx,… (all that are
 * installed). A finding is printed with the shortest input that has it; the exit code is 1 then.
 */
import { chosen, Misuse, orUsage, parseFlags, wholeNumber } from '../../scripts/flags.ts';
import { fuzz } from './fuzz.ts';
import { serverKinds } from './servers/kinds.ts';

const { seconds, seed, peers } = orUsage('npm run fuzz -- [--seconds 60] [--seed NUMBER] [--peers NAMES]', () => {
  const flags = parseFlags({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
      peers: { type: 'string' },
    },
  });
  const seedAsked = Number(flags.seed);
  if (!Number.isSafeInteger(seedAsked) || seedAsked < 0)
    throw new Misuse(`--seed "${flags.seed}" is no whole number from 0`);
  return {
    seconds: wholeNumber('--seconds', flags.seconds),
    seed: seedAsked,
    peers: chosen('--peers', flags.peers, serverKinds).map(({ name }) => name),
  };
});

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
const { findings } = await fuzz({ seconds, seed, peers, say, signal: stop.signal });
process.exitCode = findings.length > 0 ? 1 : 0;
