import { afterAll, expect, test } from 'vitest';
import type { ProxyError } from '../error.ts';
import { type Exchange, newExchange } from '../http/exchange.ts';
import { type Timed, TimerWheel } from '../net/timer-wheel.ts';
import { Shedder } from '../shedding/shedder.ts';
import { overloaded } from '../shedding/test-application.ts';
import { Gate, maxInFlight } from './gate.ts';
import { Gates } from './gates.ts';

const timers = new TimerWheel();
afterAll(() => timers.stop());

function exchange(): Exchange {
  const made = newExchange({ path: '/', authority: 'web', fromMesh: false, value: () => undefined, count: () => 0 });
  made.attempts = 1;
  return made;
}

test('the bound holds without load shedding, and every end makes room', () => {
  const gate = new Gate(80, undefined, timers);
  const all = Array.from({ length: maxInFlight }, exchange);
  for (const one of all) expect(gate.admit(one)).toBe(true);
  const last = exchange();
  const told: (ProxyError | undefined)[] = [];
  expect(gate.admit(last)).toBe(false);
  gate.wait(last, (error) => told.push(error));
  expect(told[0]).toMatchObject({ code: 'overloaded', source: 'server', retry: 'no' });
  gate.requestEnd(last);
  gate.requestEnd(all[0]!);
  expect(gate.admit(exchange())).toBe(true);
  expect([gate.inFlight, gate.refused]).toEqual([maxInFlight, 1]);
});

test('a request counts once however often it is tried, and not where it was never sent', () => {
  const gate = new Gate(80, new Shedder(() => 1), timers);
  const one = exchange();
  gate.admit(one);
  gate.attemptEnd(one, { code: 'connect-failed' } as ProxyError);
  one.attempts = 2;
  gate.admit(one);
  expect([gate.inFlight, gate.shedder!.inFlight]).toEqual([1, 1]);
  gate.requestEnd(one);
  const malformed = exchange();
  malformed.attempts = 0;
  gate.requestEnd(malformed);
  expect([gate.inFlight, gate.shedder!.inFlight]).toEqual([0, 0]);
});

test('a response that has begun takes none of the workers, and is in flight until its end', () => {
  const gate = new Gate(80, new Shedder(() => 1), timers);
  const one = exchange();
  gate.admit(one);
  gate.attemptEnd(one, undefined);
  expect([gate.inFlight, gate.shedder!.inFlight]).toEqual([1, 0]);
  gate.requestEnd(one);
  expect(gate.inFlight).toBe(0);
});

test('who waits for an application that answers nothing is turned away in time', () => {
  const { clock, shedder } = overloaded();
  const ticked = new Set<Timed>();
  const wheel = { addFine: (one: Timed) => ticked.add(one), removeFine: (one: Timed) => ticked.delete(one) };
  const gate = new Gate(80, shedder, wheel);
  const told: (ProxyError | undefined)[] = [];
  const one = exchange();
  expect(gate.admit(one)).toBe(false);
  gate.wait(one, (error) => told.push(error));
  clock.now += 100;
  for (const due of ticked) due.expire();
  expect([told.length, ticked.size]).toEqual([0, 1]);
  clock.now += 1;
  for (const due of ticked) due.expire();
  expect(told[0]).toMatchObject({ code: 'overloaded' });
  expect(ticked.size).toBe(0);
});

test('a port has one gate, and there are only so many', () => {
  const gates = new Gates(timers, false);
  expect(gates.of(80)).toBe(gates.of(80));
  for (let port = 1000; port < 2000; port++) gates.of(port);
  expect([...gates.all].length).toBe(64);
});
