import { expect, test, vi } from 'vitest';
import type { Address, ProxyMessage, Target } from '../../protocol/discovery.ts';
import { LineReader } from '../../protocol/line-reader.ts';
import { TargetCache } from './target-cache.ts';

class User {
  busy = false;
  target: Target;
  constructor(target: Target) {
    this.target = target;
  }
  update(target: Target): void {
    this.target = target;
  }
}

function setup(connected: boolean) {
  const state = { connected, now: 0, fallbacks: 0, sent: [] as ProxyMessage[] };
  const cache = new TargetCache<User>({
    make: (target) => new User(target),
    send: (message) => state.sent.push(message),
    connected: () => state.connected,
    onFallback: () => state.fallbacks++,
    now: () => state.now,
    firstAnswerMs: 20,
  });
  return { cache, state };
}
const address = '10.0.0.1:80' as Address;
const told = (version: number): Target => ({ address, kind: 'service', version, protocol: 'http1', endpoints: [] });

test('a first look-up waits for the answer, later ones have it at once', () => {
  const { cache, state } = setup(true);
  const found = vi.fn();
  cache.lookup(address, found);
  expect(found).not.toHaveBeenCalled();
  cache.onTarget(told(1));
  expect(found.mock.calls[0]![0].target).toEqual(told(1));
  cache.lookup(address, found);
  expect(found).toHaveBeenCalledTimes(2);
  expect(state).toMatchObject({ fallbacks: 0, sent: [{ type: 'subscribe', address }] });
});

test('without an answer, and at once without a connection, it is dialled as it is, and upgraded later', async () => {
  for (const connected of [true, false]) {
    const { cache, state } = setup(connected);
    const user = await new Promise<User>((resolve) => cache.lookup(address, resolve));
    expect(user.target.kind).toBe('unknown');
    expect(state.fallbacks).toBe(1);
    cache.onTarget(told(3));
    expect(user.target).toEqual(told(3));
  }
});

test('a lost stream lets those who wait go on; a new one is told all subscriptions', () => {
  const { cache, state } = setup(true);
  const found = vi.fn();
  cache.lookup(address, found);
  cache.onClose();
  expect(found).toHaveBeenCalledOnce();
  state.sent = [];
  cache.onOpen();
  expect(state.sent).toEqual([{ type: 'subscribe', address }]);
});

test('only what is long idle and unused is forgotten, and nothing while the control plane is away', () => {
  const { cache, state } = setup(true);
  let user: User | undefined;
  cache.lookup(address, (found) => {
    user = found;
  });
  cache.onTarget(told(1));
  state.now = 11 * 60_000;
  user!.busy = true;
  cache.sweep();
  expect(cache.size).toBe(1);
  user!.busy = false;
  state.connected = false;
  cache.sweep();
  expect(cache.size).toBe(1);
  state.connected = true;
  cache.sweep();
  expect(cache.size).toBe(0);
  expect(state.sent.at(-1)).toEqual({ type: 'unsubscribe', address });
});

test('lines are cut anywhere, and too long a one is refused', () => {
  const lines: string[] = [];
  const reader = new LineReader(8, (line) => lines.push(line));
  for (const part of ['{"a"', ':1}\n', '\n{}\n12', '345678']) expect(reader.push(Buffer.from(part))).toBe(true);
  expect(lines).toEqual(['{"a":1}', '{}']);
  expect(reader.push(Buffer.from('9'))).toBe(false);
});
