/** The phases of `npm run bench:control`, in order. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { createConfiguredClient } from '../../kube/configured.ts';
import { resources } from '../../kube/resources.ts';
import { trustBundleConfigMap } from '../../protocol/names.ts';
import { until } from '../../test/support/mesh.ts';
import { median, quantile } from '../statistics.ts';
import { Api, Fleet } from './fleet.ts';
import { latenciesOf } from './latency.ts';
import { type Changed, type Instant, now, type Progress } from './messages.ts';
import { ControlProcess, metric, mountAccount, type Spent, timeOf } from './process.ts';
import { dependenciesOf, namespaceName, type Size, servicesOf } from './world.ts';

/** How often a real proxy reports. */
const telemetryMs = 5_000;
/** After a burst, until what is measured is not the burst any more. */
const settleMs = 10_000;
const statRuns = 5;

export interface Settings {
  size: Size;
  /** Changes a second. */
  rate: number;
  /** How long each phase lasts. */
  seconds: number;
  /** Load processes. */
  load: number;
  telemetry: boolean;
}

export interface Result {
  empty: Spent;
  connect: Spent & { certificatesPerSecond: number; completeSeconds: number };
  idle: Spent;
  churn: Spent & {
    changes: number;
    deliveries: number;
    p50: number;
    p99: number;
    max: number;
    /** Until the last proxy had a change, median. */
    everywhere: number;
  };
  /** Milliseconds. */
  stat: { deployments: number; hour: number; command: number };
  telemetry: { series: number; bytes: number; reports: number };
  /** From the end of the one before: until the next was ready, and until every proxy knew everything again. */
  restart: Spent & { readySeconds: number; completeSeconds: number };
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const secondsBetween = (from: Instant, to: Instant): number => (to - from) / 1000;

export class Bench {
  readonly #settings: Settings & { folder: string; profile: string | undefined };
  #api: Api | undefined;
  #fleet: Fleet | undefined;
  #control: ControlProcess | undefined;

  constructor(settings: Settings & { folder: string; profile: string | undefined }) {
    this.#settings = settings;
  }

  async run(): Promise<Result> {
    const { size, seconds } = this.#settings;
    say(`making ${size.services} services in ${size.namespaces} namespaces, with ${size.proxies} pods`);
    this.#api = await Api.start(size);
    await mountAccount(this.#api.ready);
    await this.#startControl();
    const empty = (await this.#control!.during(() => wait(settleMs))).spent;
    this.#fleet = await this.#startFleet();
    say(`connecting ${size.proxies} proxies`);
    const connect = await this.#connect();
    await wait(settleMs);
    say(`${seconds} s without a change`);
    const idle = (await this.#control!.during(() => wait(seconds * 1000))).spent;
    say(`${seconds} s with ${this.#settings.rate} changes a second`);
    const churn = await this.#churn();
    const { stat, telemetry } = await this.#ask();
    say('the control plane fails, and starts again');
    const restart = await this.#restart();
    return { empty, connect, idle, churn, stat, telemetry, restart };
  }

  async stop(): Promise<void> {
    this.#fleet?.stop();
    await this.#control?.stop(this.#settings.profile ? 'SIGTERM' : 'SIGKILL');
    this.#api?.stop();
  }

  async #startControl(): Promise<void> {
    const { folder, profile } = this.#settings;
    this.#control = await ControlProcess.start(this.#api!.ready, join(folder, 'control.log'), profile);
  }

  async #startFleet(): Promise<Fleet> {
    const { size, folder, load, telemetry } = this.#settings;
    const { proxyTokens } = this.#api!.ready;
    const tokenFiles = proxyTokens.map((_, index) => join(folder, `token-${index}`));
    await Promise.all(tokenFiles.map((file, index) => writeFile(file, proxyTokens[index]!)));
    const files = [await this.#writeKubeconfig()];
    const client = await createConfiguredClient({ files, timeoutMs: 10_000, local: false });
    const bundle = await client.get(resources.configMaps, trustBundleConfigMap, namespaceName(size, 0));
    client.close();
    const trustBundle: string = bundle.data['ca.crt'];
    return Fleet.start(load, { size, tokenFiles, trustBundle, telemetryMs, telemetry });
  }

  async #writeKubeconfig(): Promise<string> {
    const { port, root, adminToken } = this.#api!.ready;
    const cluster = {
      server: `https://127.0.0.1:${port}`,
      'certificate-authority-data': Buffer.from(root).toString('base64'),
    };
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'bench' },
      clusters: [{ name: 'bench', cluster }],
      users: [{ name: 'bench', user: { token: adminToken } }],
      contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
    };
    const file = join(this.#settings.folder, 'kubeconfig');
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  /** Waits until every proxy is connected and was told of all it subscribed to. */
  #complete(): Promise<Progress> {
    return until(
      'every proxy knows what it subscribed to',
      async () => {
        const progress = await this.#fleet!.progress();
        if (progress.complete === this.#settings.size.proxies) return progress;
        await wait(100);
        return undefined;
      },
      120,
    );
  }

  async #connect(): Promise<Result['connect']> {
    const { proxies } = this.#settings.size;
    const began = now();
    const { result, spent } = await this.#control!.during(async () => {
      await this.#fleet!.begin();
      return this.#complete();
    });
    if (result.strangers > 0) throw new Error(`${result.strangers} targets that nobody subscribed to`);
    return {
      ...spent,
      certificatesPerSecond: proxies / secondsBetween(began, result.certifiedAt),
      completeSeconds: secondsBetween(began, result.completeAt),
    };
  }

  async #churn(): Promise<Result['churn']> {
    const { rate, seconds, size } = this.#settings;
    await this.#fleet!.arrivals();
    const changes: Changed[] = [];
    const { spent } = await this.#control!.during(async () => {
      const began = performance.now();
      for (let number = 0; number < rate * seconds; number++) {
        await wait(Math.max(0, began + (number * 1000) / rate - performance.now()));
        changes.push(await this.#api!.change(number));
      }
    });
    // The last changes are on their way.
    await wait(3_000);
    const services = servicesOf(size);
    const subscribers = new Map<string, number[]>();
    for (let proxy = 0; proxy < size.proxies; proxy++)
      for (const index of dependenciesOf(size, proxy % size.services)) {
        const { address } = services[index]!;
        subscribers.set(address, [...(subscribers.get(address) ?? []), proxy]);
      }
    const { all, slowest, lost } = latenciesOf(
      changes,
      await this.#fleet!.arrivals(),
      (address) => subscribers.get(address) ?? [],
    );
    if (lost > 0) throw new Error(`${lost} updates of endpoints did not arrive`);
    return {
      ...{ ...spent, changes: changes.length, deliveries: all.length },
      ...{ p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: quantile(all, 1), everywhere: median(slowest) },
    };
  }

  async #ask(): Promise<Pick<Result, 'stat' | 'telemetry'>> {
    const usual = async (ask: () => Promise<number>) => {
      const times: number[] = [];
      for (let run = 0; run < statRuns; run++) times.push(await ask());
      return median(times);
    };
    const KUBECONFIG = join(this.#settings.folder, 'kubeconfig');
    const command = async () => {
      const began = performance.now();
      const { stdout } = await execa('bin/mesh', ['stat', 'deploy', '-A', '-o', 'json'], { env: { KUBECONFIG } });
      this.#checkStat(JSON.parse(stdout));
      return performance.now() - began;
    };
    const stat = {
      deployments: await usual(() => timeOf('/v1/stat?kind=deployment')),
      hour: await usual(() => timeOf('/v1/stat?kind=all&window=3600')),
      command: await usual(command),
    };
    const { reports } = await this.#fleet!.progress();
    const series = await metric('mesh_control_telemetry_series');
    return { stat, telemetry: { series, bytes: await metric('mesh_control_telemetry_bytes'), reports } };
  }

  /** What is answered fast must be right as well: every Deployment is there, with the traffic of its pods. */
  #checkStat(answer: { items: { requests_per_second: number | null }[] }): void {
    const { size, telemetry } = this.#settings;
    const busy = answer.items.filter((row) => (row.requests_per_second ?? 0) > 0).length;
    if (telemetry && busy !== size.services)
      throw new Error(`mesh stat shows traffic of ${busy} of ${size.services} Deployments`);
  }

  async #restart(): Promise<Result['restart']> {
    const { proxies } = this.#settings.size;
    await this.#control!.stop(this.#settings.profile ? 'SIGTERM' : 'SIGKILL');
    const ended = now();
    await until('the proxies have noticed', async () => (await this.#fleet!.progress()).connected < proxies);
    await this.#startControl();
    const readySeconds = secondsBetween(ended, now());
    const { result, spent } = await this.#control!.during(() => this.#complete());
    return { ...spent, readySeconds, completeSeconds: secondsBetween(ended, result.completeAt) };
  }
}
