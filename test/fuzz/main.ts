/**
 * `npm run fuzz`: requests and responses, well formed and not, through the proxy to other servers and clients, which
 * must read what the proxy read. Flags: --seconds N (60), --seed S (of now), --peers node,nginx,… (all that are
 * installed). A finding is printed with the shortest input that has it; the exit code is 1 then.
 */
import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { serverKinds } from './servers/kinds.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    peers: { type: 'string' },
  },
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
if (!(seconds > 0)) throw new Error('--seconds takes a number above 0');
if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed takes a whole number from 0');
const wanted = values.peers?.split(',') ?? serverKinds.map(({ name }) => name);
const stranger = wanted.find((name) => !serverKinds.some((kind) => kind.name === name));
if (stranger) throw new Error(`--peers: "${stranger}" is none of ${serverKinds.map(({ name }) => name).join(', ')}`);

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
const { findings } = await fuzz({ seconds, seed, peers: wanted, say, signal: stop.signal });
process.exitCode = findings.length > 0 ? 1 : 0;
