import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatRedirect, parseRedirect } from './redirect.ts';

const ports = fc.array(fc.oneof(fc.nat(65535).map(String), fc.constant('1000-2000')), { maxLength: 4 });

test('what injection writes is what the plugin reads', () => {
  fc.assert(
    fc.property(ports, ports, (skipInbound, skipOutbound) => {
      const text = formatRedirect(skipInbound.join(', ') || undefined, skipOutbound.join(',') || undefined);
      expect(parseRedirect(text)).toEqual({ skipInbound, skipOutbound });
    }),
  );
});

test.each(['', 'init', 'CNI', 'cni;', 'cni;skip-inbound', 'cni;skip-inbound=', 'cni;other=1'])(
  '%j is refused',
  (text) => {
    expect(() => parseRedirect(text)).toThrow(`"${text}"`);
  },
);
