/** From samples to medians, a table beside Linkerd's figures, and the section of docs/benchmarks.md. */
import { markdown } from '../markdown.ts';
import { circumstances } from '../section.ts';
import { median } from '../statistics.ts';

export interface Sample {
  mesh: boolean;
  /** Requests per second that were asked for; undefined for as many as possible. */
  pace: number | undefined;
  connections: number;
  /** Requests per second that were answered. */
  rate: number;
  p50_ms: number;
  p99_ms: number;
  errors: number;
}

export interface Memory {
  client: number;
  server: number;
  control: number;
}

export interface Figures {
  samples: Sample[];
  /** Bytes resident, under load. */
  memory: Memory[];
  installSeconds: number;
  /** Of each run. */
  checkSeconds: number[];
}

export interface Run {
  rounds: number;
  seconds: number;
  connections: number[];
  rates: number[];
}

/** Measured with real pods on a like cluster and machine, not in the runs of this benchmark. */
const linkerd = {
  throughput: new Map([
    [8, 10_000],
    [32, 15_000],
    [128, 17_000],
  ]),
  added: new Map([[2000, { p50: 2.4, p99: 4.7 }]]),
  proxy: '24–30 MB',
  control: 'over 300 MB',
  install: '14 s',
  check: '3.3 s',
};

const ms = (value: number): string => `${value.toFixed(2)} ms`;
const mb = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;
const line = (...cells: [string, string, string, string]): string[] => cells;

export function table({ samples, memory, installSeconds, checkSeconds }: Figures, { connections, rates }: Run): string {
  const middle = (mesh: boolean, pace: number | undefined, count: number, field: 'rate' | 'p50_ms' | 'p99_ms') =>
    median(
      samples
        .filter((one) => one.mesh === mesh && one.pace === pace && one.connections === count)
        .map((one) => one[field]),
    );
  const memoryOf = (part: keyof Memory) => median(memory.map((one) => one[part]));
  const errors = (mesh: boolean) =>
    String(samples.filter((one) => one.mesh === mesh).reduce((sum, one) => sum + one.errors, 0));
  const throughput = connections.map((count) => {
    const known = linkerd.throughput.get(count);
    const own = middle(true, undefined, count, 'rate');
    const beside = known ? `${known} (mesh: ${(own / known).toFixed(1)} ×)` : '';
    return line(
      `${count} connections, requests/s`,
      middle(false, undefined, count, 'rate').toFixed(0),
      own.toFixed(0),
      beside,
    );
  });
  const latency = rates.flatMap((rate) =>
    (['p50', 'p99'] as const).map((quantile) => {
      const of = (mesh: boolean) => middle(mesh, rate, pacedConnections, `${quantile}_ms`);
      const known = linkerd.added.get(rate);
      const added = `${ms(of(true))} (adds ${ms(of(true) - of(false))})`;
      return line(`${rate} requests/s, ${quantile}`, ms(of(false)), added, known ? `adds ${ms(known[quantile])}` : '');
    }),
  );
  const rows = [
    ...throughput,
    ...latency,
    line('errors', errors(false), errors(true), ''),
    line(
      'memory of a proxy under load',
      '',
      `${mb(memoryOf('client'))} client, ${mb(memoryOf('server'))} server`,
      linkerd.proxy,
    ),
    line('memory of the control plane', '', mb(memoryOf('control')), linkerd.control),
    line('install to ready', '', `${installSeconds.toFixed(1)} s`, linkerd.install),
    line('check', '', `${median(checkSeconds).toFixed(1)} s`, linkerd.check),
  ];
  return markdown(['', 'without', 'mesh', 'Linkerd, measured elsewhere'], rows, [0]);
}

/** Those that requests at a fixed rate are spread over. */
export const pacedConnections = 20;

/** Of requests at a fixed rate; not counted. */
export const pacedWarmUpSeconds = 1;

export function section(figures: Figures, run: Run): string {
  const flags = `--rounds ${run.rounds} --seconds ${run.seconds} --connections ${run.connections} --rates ${run.rates}`;
  return `    npm run bench:cluster -- --write ${flags}

Measured ${circumstances()}, one node that client, server, both proxies and the cluster itself share. The client's pod asks the server's
(nginx, one worker, 35-byte body) by its Service, in one namespace with the mesh and in one without; the two take turns within
a round, and figures are medians over rounds. Throughput is wrk's. At a fixed rate, over ${pacedConnections} connections, each request's latency
counts from when it was due; the second before that, in which the connections are opened, is not counted. Memory is resident, as
each process tells it in its metrics. Linkerd's figures were measured on a like machine and cluster, not in this run.

${table(figures, run)}
`;
}
