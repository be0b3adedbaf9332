import { expect, test } from 'vitest';
import { newSpanId, newTraceId } from './ids.ts';
import { formatTraceParent, parseTraceParent } from './trace-context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

test.each([
  [`00-${traceId}-${spanId}-01`, true],
  [`00-${traceId}-${spanId}-00`, false],
  [`00-${traceId}-${spanId}-fe`, false],
  [`01-${traceId}-${spanId}-03`, true],
  [`cc-${traceId}-${spanId}-01-what the future brings`, true],
])('%s is a traceparent', (text, sampled) => {
  expect(parseTraceParent(text)).toEqual({ traceId, spanId, sampled });
});

test.each([
  undefined,
  '',
  `00-${traceId}-${spanId}-0`,
  `00-${traceId}-${spanId}-01-`,
  `00-${traceId}-${spanId}-01.`,
  `cc-${traceId}-${spanId}-01.what`,
  `ff-${traceId}-${spanId}-01`,
  `00-${'0'.repeat(32)}-${spanId}-01`,
  `00-${traceId}-${'0'.repeat(16)}-01`,
  `00-${traceId.toUpperCase()}-${spanId}-01`,
  ` 00-${traceId}-${spanId}-01`,
  `00-${traceId}-${spanId}-0g`,
  `00_${traceId}_${spanId}_01`,
])('%j is none', (text) => {
  expect(parseTraceParent(text)).toBeUndefined();
});

test('what is written is read again', () => {
  const parent = { traceId: newTraceId(), spanId: newSpanId(), sampled: true };
  expect(parseTraceParent(formatTraceParent(parent))).toEqual(parent);
});

test('ids differ', () => {
  const ids = Array.from({ length: 10_000 }, newTraceId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(ids).size).toBe(ids.length);
});
