import { afterAll, expect, test } from 'vitest';
import type { Address } from '../../protocol/discovery.ts';
import { ProxyError } from '../error.ts';
import { type Exchange, type Limits, newExchange } from '../http/exchange.ts';
import type { Fields } from '../http/head-fields.ts';
import { TimerWheel } from '../net/timer-wheel.ts';
import { ExchangeClock } from './exchange-clock.ts';

const timers = new TimerWheel();
afterAll(() => timers.stop());

const fields = (values: Record<string, string>): Fields => ({
  value: (name) => values[name],
  count: (name) => (name in values ? 1 : 0),
});
const lateAnswer = fields({ 'mesh-error': 'deadline-exceeded; the deadline that came with the request is over' });

/** An exchange of a clock of its own, begun at 1000. `passes`: so many milliseconds, the wheel's tick at their end. */
function begun(asked: Partial<Exchange>, limits?: { responseMs?: number; idleMs?: number }) {
  const record = newExchange({ ...fields({}), path: '/', authority: 'web', fromMesh: false });
  const wanted: Limits | undefined = limits && {
    responseMs: 0,
    idleMs: 0,
    retriesGrpc: false,
    again: () => -1,
    ...limits,
  };
  const endpoint = { address: '10.0.0.1:80' as Address, identity: 'spiffe://mesh/ns/a/sa/b' };
  Object.assign(record, { endpoint, limits: wanted, ...asked });
  const told: string[] = [];
  const user = { onExpired: ({ code }: ProxyError) => void told.push(code), onWaited: () => void told.push('waited') };
  let now = 1_000;
  const clock = new ExchangeClock(timers, record, user, () => now);
  clock.start();
  const passes = (ms: number): void => {
    now += ms;
    if (clock.deadline === 0 || clock.deadline > now) return;
    clock.deadline = 0;
    clock.expire();
  };
  return { clock, record, limits: wanted, told, passes };
}

test('each time ends what it is for, and none before it is over', () => {
  const whole = begun({ deadline: 1_100 });
  whole.passes(99);
  expect([whole.clock.late, whole.told]).toEqual([false, []]);
  whole.passes(1);
  expect([whole.clock.late, whole.told]).toEqual([true, ['request-timeout']]);

  const one = begun({}, { responseMs: 50 });
  one.clock.tryBegins();
  one.passes(49);
  one.clock.answered();
  one.passes(1_000);
  expect(one.told).toEqual([]);
  one.clock.wait(10);
  one.passes(10);
  one.clock.tryBegins();
  one.passes(50);
  expect(one.told).toEqual(['waited', 'response-timeout']);

  const silent = begun({}, { idleMs: 30 });
  silent.passes(29);
  silent.clock.used();
  silent.passes(29);
  expect(silent.told).toEqual([]);
  silent.passes(1);
  expect(silent.told).toEqual(['idle-timeout']);
});

test('limits that change hold for the next request', () => {
  const { clock, limits, told, passes } = begun({ deadline: 10_000 }, {});
  Object.assign(limits!, { idleMs: 20, responseMs: 20 });
  clock.tryBegins();
  passes(8_999);
  expect(told).toEqual([]);
});

test('nothing is on the wheel where no time is asked for but before a retry', () => {
  const { clock } = begun({}, {});
  clock.tryBegins();
  expect(clock.deadline).toBe(0);
  clock.wait(20);
  expect(clock.deadline).toBe(1_020);
});

test("the server's answer that the time is over is its limit's, if that is as good as over", () => {
  const early = begun({ deadline: 1_100 });
  early.passes(94);
  expect([early.clock.answersLate(lateAnswer), early.told]).toEqual([false, []]);
  const soon = begun({ deadline: 1_100 });
  soon.passes(95);
  expect(soon.clock.answersLate(fields({}))).toBe(false);
  expect([soon.clock.answersLate(lateAnswer), soon.told]).toEqual([true, ['request-timeout']]);
});

test.each([
  ['a deadline that came with the request', { deadlineCode: 'deadline-exceeded' }],
  ['an endpoint without a proxy', { endpoint: { address: '10.0.0.1:80' as Address } }],
  ['no deadline', { deadline: 0 }],
] satisfies [string, Partial<Exchange>][])('with %s the answer passes as it is', (_, asked) => {
  const { clock, told, passes } = begun({ deadline: 1_100, ...asked });
  passes(99);
  expect([clock.answersLate(lateAnswer), told]).toEqual([false, []]);
});

test('a response that is cut off as the time ends has failed by that, and by nothing else before', () => {
  const lost = new ProxyError('response-lost', 'the server closed inside its response', { source: 'server' });
  const gone = new ProxyError('client-gone', 'the client closed', { source: 'client' });
  const { clock, record, passes } = begun({ deadline: 1_100 });
  passes(99);
  expect(clock.reason(lost)).toBe(lost);
  record.response = fields({});
  expect(clock.reason(lost)).toMatchObject({ code: 'request-timeout', retry: 'no' });
  expect(clock.reason(gone)).toBe(gone);
  record.deadlineCode = 'deadline-exceeded';
  expect(clock.reason(lost).code).toBe('deadline-exceeded');
  const early = begun({ deadline: 1_100, response: fields({}) });
  early.passes(94);
  expect(early.clock.reason(lost)).toBe(lost);
});
