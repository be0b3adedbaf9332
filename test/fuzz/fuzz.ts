/** Runs cases until the time is up; every one follows from the seed and its number. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cut, mutate } from './mutate.ts';
import { Random } from './random.ts';
import { requestSeed } from './request-seeds.ts';
import { RequestTrial, sentinel, type Verdict } from './requests.ts';
import { responseSeed } from './response-seeds.ts';
import { ResponseTrial } from './responses.ts';
import { clientKinds, serverKinds } from './servers/kinds.ts';
import { shrink } from './shrink.ts';

const maxFindings = 20;

export interface FuzzOptions {
  seconds: number;
  seed: number;
  /** Names of servers and clients; those that are not installed are left out. */
  peers: readonly string[];
  /** Ends it before its time, in order. */
  signal?: AbortSignal;
  say(text: string): void;
}

/** Counts are over all peers. */
export interface FuzzResult {
  findings: string[];
  inputs: number;
  accepted: number;
  messages: number;
  peers: string[];
}

/** One case against one peer: how its input is run, the whole or a shorter one. */
interface Case {
  peer: string;
  input: string;
  /** The parts it was cut into; a shrunk one is not cut. */
  run(input?: string): Promise<Verdict>;
}

export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { seconds, seed, say, signal } = options;
  const folder = await mkdtemp(path.join(tmpdir(), 'mesh-fuzz-'));
  const requests: RequestTrial[] = [];
  const responses: ResponseTrial[] = [];
  const result: FuzzResult = { findings: [], inputs: 0, accepted: 0, messages: 0, peers: [] };
  const wanted = ({ name }: { name: string }) => options.peers.includes(name);
  try {
    for (const kind of serverKinds.filter(wanted)) {
      const missing = kind.missing();
      if (missing) say(`skipped: ${kind.name} is not here; to have it: ${missing}`);
      else requests.push(await RequestTrial.of(await kind.start(folder)));
    }
    for (const kind of clientKinds.filter(wanted)) {
      if (!kind.missing()) responses.push(await ResponseTrial.of(kind, folder));
    }
    result.peers = requests.map(({ server }) => server.name);
    say(`seed ${seed}, ${seconds} s, servers: ${result.peers.join(', ')}`);
    const until = performance.now() + seconds * 1000;
    const seen = new Set<string>();
    for (let number = 0; performance.now() < until && !signal?.aborted; number++) {
      if (result.findings.length >= maxFindings) break;
      const random = new Random(Math.imul(seed, 1_000_003) + number);
      // A response takes several times as long as a request.
      const cases = number % 5 === 4 ? responseCases(responses, random) : requestCases(requests, random);
      const verdicts = await Promise.all(cases.map(({ run }) => run()));
      result.inputs++;
      for (const [i, verdict] of verdicts.entries()) {
        if (verdict.accepted) result.accepted++;
        result.messages += verdict.requests;
        const text = verdict.finding && (await reproducer(cases[i]!, verdict.finding.kind));
        if (!text || seen.has(text)) continue;
        seen.add(text);
        result.findings.push(text);
        say(`case ${number} of seed ${seed}: ${text}`);
      }
    }
  } finally {
    for (const trial of [...requests, ...responses]) trial.close();
    await rm(folder, { recursive: true, force: true });
  }
  const { inputs, accepted, messages, findings } = result;
  say(`${inputs} inputs, accepted ${accepted} times, ${messages} messages, ${findings.length} findings`);
  return result;
}

function requestCases(trials: readonly RequestTrial[], random: Random): Case[] {
  let input = '';
  for (let count = random.pick([1, 1, 1, 2, 3]); count > 0; count--) input += requestSeed(random);
  input = mutate(input, random);
  const parts = cut(input + sentinel, random);
  return trials.map((trial) => ({
    peer: `${trial.server.name} as server`,
    input,
    run: (shorter) => trial.run(shorter === undefined ? parts : [Buffer.from(shorter + sentinel, 'latin1')]),
  }));
}

function responseCases(trials: readonly ResponseTrial[], random: Random): Case[] {
  const method = random.chance(0.2) ? 'HEAD' : 'GET';
  const input = mutate(responseSeed(random), random);
  const ends = random.chance(0.4);
  const parts = cut(input, random);
  const interim = /^HTTP\/1\.[01] 1\d\d/m.test(input);
  const able = trials.filter(({ client }) => client.takesInterim || !interim);
  return able.map((trial) => ({
    peer: `${trial.client.name} as client, ${method}${ends ? ', the application closes' : ''}`,
    input,
    run: (shorter) => trial.run(shorter === undefined ? parts : [Buffer.from(shorter, 'latin1')], method, ends),
  }));
}

/** The shortest input found; undefined where it does not happen again: a busy machine is no finding. */
async function reproducer({ peer, input, run }: Case, kind: string): Promise<string | undefined> {
  for (let again = 0; again < 2; again++) if ((await run()).finding?.kind !== kind) return undefined;
  const fails = async (shorter: string) => (await run(shorter)).finding?.kind === kind;
  const short = (await fails(input)) ? await shrink(input, fails) : undefined;
  const finding = (await run(short)).finding;
  const cutUp = short === undefined ? ' (cut into parts)' : '';
  return `${peer}: ${kind}${cutUp}\n  ${JSON.stringify(short ?? input)}\n  ${finding?.detail}`;
}
