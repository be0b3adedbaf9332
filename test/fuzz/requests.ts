/**
 * Whether a server reads what the proxy sent on as the requests that the proxy counted: the same ones, no more, no
 * fewer, and the same as what it would have read from the client itself.
 */
import { parseAddress } from '../../protocol/discovery.ts';
import { Chain, converse, type Passage, type Passed } from './chain.ts';
import { readForwarded, withoutExtra } from './report.ts';
import { reportedStatus } from './servers/node.ts';
import type { FuzzServer } from './servers/server.ts';

const deadlineMs = 3_000;

export const sentinel = 'GET /sentinel HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n';

const sentinelReading = readForwarded(Buffer.from(sentinel));

export interface Finding {
  /** What went wrong, always in the same words. */
  kind: string;
  detail: string;
}

export interface Verdict {
  finding: Finding | undefined;
  /** Whether all of the input was read as requests and passed on, and the sentinel behind it. */
  accepted: boolean;
  requests: number;
}

/** One server, behind the proxy and by itself. */
export class RequestTrial {
  readonly server: FuzzServer;
  readonly #chain: Chain;
  readonly #port: number;

  private constructor(server: FuzzServer, chain: Chain) {
    this.server = server;
    this.#chain = chain;
    this.#port = parseAddress(server.address)!.port;
  }

  static async of(server: FuzzServer): Promise<RequestTrial> {
    return new RequestTrial(server, await Chain.to(server.address));
  }

  close(): void {
    this.#chain.close();
    this.server.close();
  }

  /** `parts` hold the input and behind it the sentinel. */
  async run(parts: readonly Buffer[]): Promise<Verdict> {
    const input = Buffer.concat(parts);
    this.server.heard?.();
    const passage = await this.#chain.pass(parts, deadlineMs);
    const counted = count(passage);
    const last = counted.at(-1)?.reading;
    const accepted = last === sentinelReading && passage.outbound.every(({ error }) => error === undefined);
    const verdict = { accepted, requests: counted.length };
    const finding = this.#judge(input, passage, counted) ?? (accepted ? await this.#alone(input, counted) : undefined);
    return { ...verdict, finding };
  }

  #judge(input: Buffer, passage: Passage, counted: readonly Counted[]): Finding | undefined {
    const between = sameOnBothSides(passage);
    if (between) return between;
    // Node leaves what is malformed in or behind a request to upgrade without an answer, as server and as origin.
    if (passage.hung && upgrades(input)) return undefined;
    if (passage.hung) {
      const last = counted.at(-1);
      return { kind: 'waits', detail: `the server waits for more of ${last?.reading ?? 'nothing'}` };
    }
    const answered = counted.filter(({ status }) => status === reportedStatus);
    const half = answered.find(({ whole }) => !whole);
    if (half) return { kind: 'answered before its end', detail: half.reading };
    const reports = reportsIn(passage.text).map((line) => this.#tell(line));
    const expected = answered.map(({ reading }) => this.#tell(reading));
    // The last response may have been cut off on its way.
    const missing = expected.length - reports.length;
    if (missing < 0 || missing > 1 || !startsWith(expected, reports)) {
      return { kind: 'differs', detail: difference(expected, reports) };
    }
    const all = counted.filter(({ whole }) => whole).map(({ reading }) => this.#tell(reading));
    const heard = this.server.heard?.().map((line) => this.#tell(line)) ?? [];
    if (!withinInOrder(heard, all)) return { kind: 'reads more', detail: difference(all, heard) };
    return undefined;
  }

  /** What the server makes of the same bytes without the proxy: less, where it refuses some, but nothing else. */
  async #alone(bytes: Buffer, counted: readonly Counted[]): Promise<Finding | undefined> {
    // What may stand behind a request to upgrade is between the two; the proxy sends nothing before the answer.
    if (upgrades(bytes)) return undefined;
    const { text, hung } = await converse(this.#port, [bytes], false, deadlineMs);
    this.server.heard?.();
    const expected = counted.map(({ reading }) => withoutExtra(reading));
    const reports = reportsIn(text).map(withoutExtra);
    if (hung) return { kind: 'alone: waits', detail: difference(expected, reports) };
    return withinInOrder(reports, expected)
      ? undefined
      : { kind: 'alone: differs', detail: difference(expected, reports) };
  }

  #tell(reading: string): string {
    return this.server.tellsHeaders ? reading : withoutExtra(reading);
  }
}

interface Counted {
  /** As `report` tells it; or why the bytes are no whole request. */
  reading: string;
  whole: boolean;
  status: number;
}

function count({ inbound }: Passage): Counted[] {
  return inbound.map((passed) => {
    const aborted = ['client-gone', 'bad-chunk', 'bad-trailer'].includes(passed.error ?? '');
    try {
      return { reading: readForwarded(Buffer.concat(passed.bytes)), whole: true, status: passed.status };
    } catch (error) {
      return {
        reading: `${(error as Error).message}${aborted ? '' : ', and not aborted'}`,
        whole: false,
        status: passed.status,
      };
    }
  });
}

/** Both engines see the same requests; the outer may have begun one that the inner was not sent whole. */
function sameOnBothSides({ outbound, inbound }: Passage): Finding | undefined {
  for (let i = 0; i < Math.max(outbound.length, inbound.length); i++) {
    const [outer, inner] = [outbound[i], inbound[i]];
    if (outer && inner && text(outer).startsWith(text(inner))) continue;
    if (outer && !inner && outer.error !== undefined) continue;
    return { kind: 'the engines differ', detail: `${describe(outer)} and ${describe(inner)}` };
  }
  return undefined;
}

const upgrades = (bytes: Buffer): boolean => /^upgrade:/im.test(bytes.toString('latin1'));
const text = (passed: Passed): string => Buffer.concat(passed.bytes).toString('latin1');
const describe = (passed: Passed | undefined): string =>
  passed ? `${JSON.stringify(text(passed))} (${passed.status} ${passed.error ?? ''})` : 'nothing';

function reportsIn(received: string): string[] {
  return [...received.matchAll(/^x-report: (.*)\r$/gim)].map(([, line]) => line!);
}

const startsWith = (expected: readonly string[], reports: readonly string[]): boolean =>
  reports.every((line, i) => line === expected[i]);

/** Whether each of `heard` is one of `all`, in order; one that was tried again is heard again. */
function withinInOrder(heard: readonly string[], all: readonly string[]): boolean {
  let at = 0;
  for (const line of heard) {
    if (at > 0 && line === all[at - 1]) continue;
    const found = all.indexOf(line, at);
    if (found < 0) return false;
    at = found + 1;
  }
  return true;
}

const difference = (expected: readonly string[], reports: readonly string[]): string =>
  `the proxy counted\n    ${expected.join('\n    ') || 'nothing'}\n  and the server read\n    ${reports.join('\n    ') || 'nothing'}`;
