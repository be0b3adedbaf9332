/** From figures to a table, and to the section of docs/scale.md. */
import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { Result, Settings } from './bench.ts';
import type { Spent } from './process.ts';

const file = 'docs/scale.md';
const begin = '<!-- written by npm run bench:control -->';
const end = '<!-- end -->';

const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
const ms = (value: number): string => `${value.toFixed(0)} ms`;
const seconds = (value: number): string => `${value.toFixed(1)} s`;

export function table({ empty, connect, idle, churn, stat, telemetry, restart }: Result): string {
  const row = (name: string, { cpu, rss, private: own, peakRss }: Spent, figures: string) =>
    `| ${name} | ${percent(cpu)} | ${megabytes(rss)} | ${megabytes(peakRss)} | ${megabytes(own)} | ${figures} |`;
  return [
    '| phase | CPU of one core | RSS MB | most | private MB | |',
    '| --- | ---: | ---: | ---: | ---: | --- |',
    row('no proxies', empty, ''),
    row(
      'all connect at once',
      connect,
      `${seconds(connect.completeSeconds)} until every proxy knows every target; ${connect.certificatesPerSecond.toFixed(0)} certificates/s`,
    ),
    row('nothing changes', idle, `${telemetry.series} series, ${megabytes(telemetry.bytes)} MB of buckets`),
    row(
      `${churn.changes} changes`,
      churn,
      `at each subscribed proxy after p50 ${ms(churn.p50)}, p99 ${ms(churn.p99)}, max ${ms(churn.max)} (${churn.deliveries} deliveries)`,
    ),
    row(
      'killed and started',
      restart,
      `ready after ${seconds(restart.readySeconds)}, every proxy knows everything after ${seconds(restart.completeSeconds)}`,
    ),
    '',
    `\`stat\`: deployments over a minute ${ms(stat.deployments)}, everything over an hour ${ms(stat.hour)}; the command \`mesh stat deploy -A\` ${ms(stat.command)}.`,
  ].join('\n');
}

export function section({ size, rate, load, seconds: long }: Settings, result: Result): string {
  const flags = `--proxies ${size.proxies} --services ${size.services} --per-proxy ${size.perProxy} --namespaces ${size.namespaces} --rate ${rate} --seconds ${long}`;
  const processor = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`;
  return `    npm run bench:control -- --write ${flags}

on ${new Date().toISOString().slice(0, 10)}, ${processor}, Node ${process.versions.node}. The control plane runs as installed, bound to one processor; the API
server and ${load} processes with the simulated proxies share the machine. Every proxy has a certificate and a stream of its own, and
reports traffic with each of its ${size.perProxy} servers and as many clients every five seconds.

${table(result)}`;
}

/** Puts the section into the document, in place of the one before. @throws Error where the document has no place for it */
export async function write(text: string): Promise<void> {
  const document = await readFile(file, 'utf8');
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no "${begin}" before "${end}"`);
  await writeFile(file, `${document.slice(0, from + begin.length)}\n\n${text}\n\n${document.slice(to)}`);
  process.stderr.write(`wrote ${file}\n`);
}
