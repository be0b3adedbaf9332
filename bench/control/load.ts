/** A load process of `npm run bench:control`: its part of the simulated proxies. */
import {
  type Arrival,
  type Instant,
  type LoadAnswer,
  type LoadMessage,
  type LoadOptions,
  now,
  type Progress,
} from './messages.ts';
import { SimulatedProxy } from './proxy.ts';
import { reportOf, seriesFor } from './traffic.ts';
import { dependenciesOf, servicesOf } from './world.ts';

const options = JSON.parse(process.argv[2]!) as LoadOptions;
const { size } = options;
const services = servicesOf(size);
const started = Date.now();

let certified = 0;
let strangers = 0;
let reports = 0;
let certifiedAt: Instant = 0;
let completeAt: Instant = 0;
let arrivals: Arrival[] = [];

const proxies = Array.from({ length: options.to - options.from }, (_, index) => makeProxy(options.from + index));

function makeProxy(number: number): SimulatedProxy {
  const index = number % size.services;
  const { name, namespace, pods } = services[index]!;
  const subscriptions = dependenciesOf(size, index).map((one) => services[one]!.address);
  const wanted = new Set(subscriptions);
  return new SimulatedProxy({
    ...{ namespace, workload: name, subscriptions, trustBundle: options.trustBundle },
    pod: pods[Math.floor(number / size.services)]!.name,
    tokenFile: options.tokenFiles[index]!,
    onCertified: () => {
      certified++;
      certifiedAt = now();
    },
    onComplete: () => {
      completeAt = now();
    },
    onTarget: ({ address, endpoints }) => {
      if (!wanted.has(address)) strangers++;
      const state = endpoints.map((one) => one.address).join(' ');
      arrivals.push({ proxy: number, address, at: now(), state });
    },
  });
}

/** Each proxy in its own time: a thousand pods were not started at once. */
function startTelemetry(): void {
  const series = services.map((_, index) => seriesFor(size, services, index));
  proxies.forEach((proxy, index) => {
    let sequence = 0;
    const report = () => {
      reports++;
      proxy.report(reportOf(series[(options.from + index) % size.services]!, ++sequence, started, options.telemetryMs));
    };
    setTimeout(
      () => {
        report();
        setInterval(report, options.telemetryMs);
      },
      (options.telemetryMs * index) / proxies.length,
    );
  });
}

const progress = (): Progress => ({
  ...{ certified, strangers, reports, certifiedAt, completeAt },
  connected: proxies.filter((one) => one.connected).length,
  complete: proxies.filter((one) => one.complete).length,
  acknowledged: proxies.reduce((sum, one) => sum + one.acknowledged, 0),
});

function answer(message: LoadMessage): LoadAnswer {
  if (message.ask === 'start') {
    for (const proxy of proxies) proxy.start();
    if (options.telemetry) startTelemetry();
  }
  if (message.ask !== 'arrivals') return { progress: progress() };
  const handed = arrivals;
  arrivals = [];
  return { arrivals: handed };
}

process.on('message', (message: LoadMessage) => process.send!(answer(message)));
process.on('disconnect', () => process.exit(0));
process.send!('ready');
