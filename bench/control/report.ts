/** From figures to a table, and to the section of docs/benchmarks.md. */
import { markdown } from '../markdown.ts';
import { circumstances } from '../section.ts';
import type { Result, Settings } from './bench.ts';
import type { Spent } from './process.ts';

const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
const ms = (value: number): string => `${value.toFixed(0)} ms`;
const seconds = (value: number): string => `${value.toFixed(1)} s`;

export function table({ empty, connect, idle, churn, stat, telemetry, restart }: Result): string {
  const row = (name: string, { cpu, rss, private: own, peakRss }: Spent, figures: string) => [
    name,
    percent(cpu),
    megabytes(rss),
    megabytes(peakRss),
    megabytes(own),
    figures,
  ];
  const rows = [
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
  ];
  return [
    markdown(['phase', 'CPU of one core', 'RSS MB', 'most', 'private MB', ''], rows, [0, 5]),
    '',
    `\`stat\`: deployments over a minute ${ms(stat.deployments)}, everything over an hour ${ms(stat.hour)}; the command \`mesh stat deploy -A\` ${ms(stat.command)}.`,
  ].join('\n');
}

export function section({ size, rate, load, seconds: long }: Settings, result: Result): string {
  const flags = `--proxies ${size.proxies} --services ${size.services} --per-proxy ${size.perProxy} --namespaces ${size.namespaces} --rate ${rate} --seconds ${long}`;
  return `    npm run bench:control -- --write ${flags}

Measured ${circumstances()}. The control plane runs as installed, bound to one processor; the API
server and ${load} processes with the simulated proxies share the machine. Every proxy has a certificate and a stream of its own, and
reports traffic with each of its ${size.perProxy} servers and as many clients every five seconds.

${table(result)}`;
}
