/** What the shedder does to overloaded applications, and what to healthy ones, in simulated time. */
import { expect, test } from 'vitest';
import {
  type Application,
  exponential,
  offer,
  percentile,
  processor,
  type Rng,
  Service,
  Simulation,
  seeded,
  unlimited,
  workers,
} from './test-application.ts';

interface Scenario {
  application: (simulation: Simulation, random: Rng) => Application;
  /** Requests per second. */
  rate: (now: number) => number;
}

const minute = 60_000;

/** From `from` on, milliseconds: the share that was shed, answers per second, and latencies. */
function run({ application, rate }: Scenario, seed: number, shedding = true, from = 0) {
  const simulation = new Simulation();
  const random = seeded(seed);
  const service = new Service(simulation, application(simulation, random), shedding);
  offer(simulation, random, rate, minute, () => service.request());
  simulation.run(from);
  service.forget();
  simulation.run(minute);
  const { sent, shed, latencies } = service.outcome;
  return {
    shed: shed / sent,
    answered: (latencies.length * 1000) / (minute - from),
    p99: percentile(latencies, 0.99),
    limit: service.shedder.limit,
  };
}

const seeds = [1, 2, 3];

// === Overload ===

const afterTenSeconds = (usual: number, then: number) => (now: number) => (now < 10_000 ? usual : then);

test.each([
  ['ten workers', 10, 10, 500, 2],
  ['ten workers far beyond', 10, 10, 500, 5],
  ['one worker', 1, 5, 100, 2],
  ['slow ones', 4, 100, 20, 2],
  ['many', 50, 100, 250, 2],
] as const)(
  'an overloaded application of %s goes on at its capacity, and answers soon',
  (_, count, mean, usual, times) => {
    const application = (simulation: Simulation, random: Rng) => workers(simulation, count, exponential(random, mean));
    const capacity = (count * 1000) / mean;
    const scenario = { application, rate: afterTenSeconds(usual, capacity * times) };
    for (const seed of seeds) {
      const with_ = run(scenario, seed, true, 25_000);
      expect(with_.answered).toBeGreaterThan(0.93 * capacity);
      expect(with_.shed).toBeCloseTo(1 - 1 / times, 1);
      expect(with_.p99).toBeLessThan(25 * mean);
    }
  },
);

test('without the shedder whoever is answered has waited for the better part of a minute', () => {
  const application = (simulation: Simulation, random: Rng) => workers(simulation, 10, exponential(random, 10));
  const { p99 } = run({ application, rate: afterTenSeconds(500, 2_000) }, 1, false, 25_000);
  expect(p99).toBeGreaterThan(20_000);
});

test('an overloaded application whose requests share a processor goes on at its capacity too', () => {
  const application = (simulation: Simulation, random: Rng) => processor(simulation, exponential(random, 5));
  for (const seed of seeds) {
    const { answered, p99 } = run({ application, rate: afterTenSeconds(100, 400) }, seed, true, 25_000);
    expect(answered).toBeGreaterThan(190);
    expect(p99).toBeLessThan(500);
  }
});

test('one that becomes slower as it is overloaded finds its capacity anyhow', () => {
  const application = (simulation: Simulation, random: Rng) =>
    workers(simulation, 10, () => exponential(random, simulation.now < 10_000 ? 10 : 100)());
  for (const seed of seeds) {
    const { answered } = run({ application, rate: afterTenSeconds(500, 200) }, seed, true, 25_000);
    expect(answered).toBeGreaterThan(85);
  }
});

test('what the first requests of a cold application took is not taken for usual', () => {
  const application = (simulation: Simulation) => {
    let warmth = 0;
    return workers(simulation, 4, () => (warmth++ < 40 ? 150 : 20));
  };
  for (const seed of seeds) {
    const { answered, p99 } = run({ application, rate: afterTenSeconds(50, 400) }, seed, true, 15_000);
    expect(answered).toBeGreaterThan(190);
    expect(p99).toBeLessThan(250);
  }
});

test('when the load is usual again, so is all else', () => {
  const application = (simulation: Simulation, random: Rng) => workers(simulation, 10, exponential(random, 10));
  const rate = (now: number) => (now > 10_000 && now < 30_000 ? 2_000 : 500);
  for (const seed of seeds) expect(run({ application, rate }, seed, true, 32_000).shed).toBe(0);
});

// === Health ===

test.each<[string, Scenario]>([
  [
    'at four fifths of its capacity',
    { application: (one, random) => workers(one, 10, exponential(random, 10)), rate: () => 800 },
  ],
  [
    'of one processor, at seven tenths',
    { application: (one, random) => processor(one, exponential(random, 5)), rate: () => 140 },
  ],
  [
    'with fast requests and slow ones',
    { application: (one, random) => unlimited(one, () => (random() < 0.8 ? 5 : 1000) * random()), rate: () => 500 },
  ],
  ['with long polls alone', { application: (one) => unlimited(one, () => 30_000), rate: () => 50 }],
  [
    'with long polls among others',
    {
      application: (one, random) => unlimited(one, () => (random() < 0.3 ? 10_000 + 20_000 * random() : 10 * random())),
      rate: () => 200,
    },
  ],
  [
    'that stops for a second now and then',
    {
      application: (one, random) => {
        const service = exponential(random, 10);
        const pause = (now: number) => (now % 10_000 > 9_000 ? 10_000 - (now % 10_000) : 0);
        return workers(one, 8, () => service() + pause(one.now));
      },
      rate: () => 400,
    },
  ],
])('a healthy application %s sheds nothing', (_, scenario) => {
  for (const seed of seeds) expect(run(scenario, seed)).toMatchObject({ shed: 0, limit: Number.POSITIVE_INFINITY });
});

test('bursts that are worked off are let in whole', () => {
  for (const seed of seeds) {
    const simulation = new Simulation();
    const random = seeded(seed);
    const service = new Service(simulation, workers(simulation, 8, exponential(random, 10)));
    const burst = (): void => {
      for (let i = 0; i < 200; i++) service.request();
      simulation.after(1_000, burst);
    };
    burst();
    offer(
      simulation,
      random,
      () => 200,
      minute,
      () => service.request(),
    );
    simulation.run(minute);
    expect(service.outcome.shed).toBe(0);
  }
});

test('one that only becomes slower is taken for overloaded for a moment, and then no more', () => {
  const application = (simulation: Simulation, random: Rng) =>
    unlimited(simulation, () => (simulation.now > 20_000 ? 100 : 10) * (0.5 + random()));
  for (const seed of seeds) {
    const all = run({ application, rate: () => 500 }, seed, true, 20_000);
    expect(all.shed).toBeLessThan(0.02);
    expect(all.limit).toBe(Number.POSITIVE_INFINITY);
    expect(run({ application, rate: () => 500 }, seed, true, 23_000).shed).toBe(0);
  }
});

test('one that becomes slower now and then loses next to nothing', () => {
  const application = (simulation: Simulation, random: Rng) =>
    unlimited(simulation, () => (Math.floor(simulation.now / 15_000) % 2 === 1 ? 200 : 5) * (0.5 + random()));
  for (const seed of seeds) expect(run({ application, rate: () => 500 }, seed).shed).toBeLessThan(0.02);
});
