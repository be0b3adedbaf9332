/**
 * `npm run bench:control`: the control plane as it ships, alone on one processor, against an API server with many
 * services, and as many simulated proxies as asked for, each with a certificate and a stream of its own.
 * Flags: --proxies N (1000), --services N (200), --per-proxy N (20), --namespaces N (10), --rate N (10 changes a second),
 * --seconds N (30, each phase), --load N (2 load processes), --no-telemetry, --profile DIR, --json FILE,
 * --write (docs/benchmarks.md). Runs in namespaces of its own, and leaves nothing behind.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { Misuse, orUsage, parseFlags, wholeNumber } from '../../scripts/flags.ts';
import { writeSection } from '../section.ts';
import { Bench } from './bench.ts';
import { enter, inside } from './inside.ts';
import { section, table } from './report.ts';

const usage =
  'npm run bench:control -- [--proxies 1000] [--services 200] [--per-proxy 20] [--namespaces 10] [--rate 10] [--seconds 30] [--load 2] [--no-telemetry] [--profile FOLDER] [--json FILE] [--write]';

const { values, settings } = orUsage(usage, () => {
  const flags = parseFlags({
    allowNegative: true,
    options: {
      proxies: { type: 'string', default: '1000' },
      services: { type: 'string', default: '200' },
      'per-proxy': { type: 'string', default: '20' },
      namespaces: { type: 'string', default: '10' },
      rate: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '30' },
      load: { type: 'string', default: '2' },
      telemetry: { type: 'boolean', default: true },
      profile: { type: 'string' },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const whole = (name: 'proxies' | 'services' | 'per-proxy' | 'namespaces' | 'rate' | 'seconds' | 'load') =>
    wholeNumber(`--${name}`, flags[name]);
  const size = {
    ...{ proxies: whole('proxies'), services: whole('services') },
    ...{ perProxy: whole('per-proxy'), namespaces: whole('namespaces') },
  };
  if (size.perProxy >= size.services) throw new Misuse('--per-proxy must be less than --services');
  if (size.proxies < size.services)
    throw new Misuse('--proxies must not be less than --services: each service has pods');
  return {
    values: flags,
    settings: {
      ...{ size, rate: whole('rate'), seconds: whole('seconds'), load: whole('load') },
      telemetry: flags.telemetry,
    },
  };
});

if (!inside()) {
  await execa('node', ['scripts/build.ts'], { stdio: 'inherit' });
  process.exitCode = await enter(process.argv.slice(2));
} else {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-bench-'));
  if (values.profile) await mkdir(values.profile, { recursive: true });
  const bench = new Bench({ ...settings, folder, profile: values.profile && resolve(values.profile) });
  try {
    const result = await bench.run();
    process.stdout.write(`${table(result)}\n`);
    if (values.json) await writeFile(values.json, `${JSON.stringify({ settings, ...result }, null, 2)}\n`);
    if (values.write) await writeSection('control', section(settings, result));
    await rm(folder, { recursive: true });
  } catch (error) {
    process.stderr.write(`bench:control: ${(error as Error).stack}\nthe log of the control plane is in ${folder}\n`);
    process.exitCode = 1;
  } finally {
    await bench.stop();
  }
}
