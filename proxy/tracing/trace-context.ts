/** W3C Trace Context, level 1: the header `traceparent`. */

export interface TraceParent {
  /** 32 digits, lower-case hexadecimal. */
  traceId: string;
  /** 16 of them: the span that this request is made within. */
  spanId: string;
  sampled: boolean;
}

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const noTrace = '0'.repeat(32);
const noSpan = '0'.repeat(16);

/** undefined where it is none: then a new trace begins, and `tracestate` means nothing (section 4.3). */
export function parseTraceParent(text: string | undefined): TraceParent | undefined {
  if (text === undefined || text.length < 55) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', more] = form.exec(text) ?? [];
  // A later version may say more behind what this one says; 00 may not, and ff is none.
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (traceId === noTrace || spanId === noSpan) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Of version 00: a version that is not known is not passed on (section 4.3). */
export function formatTraceParent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-0${sampled ? 1 : 0}`;
}
