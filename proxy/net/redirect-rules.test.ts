import { expect, test } from 'vitest';
import { isPortRange, redirectRules } from './redirect-rules.ts';

test('the rules leave the proxy, loopback, HBONE, admin and skipped ports alone', () => {
  const options = { skipInbound: ['22', '9000-9010'], skipOutbound: ['5432'], listeningOnly: true };
  expect(redirectRules(options)).toMatchInlineSnapshot(`
    "table inet mesh
    delete table inet mesh
    table inet mesh {
      chain inbound {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport { 15008, 4191, 22, 9000-9010 } return
        meta l4proto tcp socket transparent { 0, 1 } redirect to :4143
      }
      chain outbound {
        type nat hook output priority -100; policy accept;
        meta skuid 2102 return
        oifname "lo" return
        ip daddr 127.0.0.0/8 return
        ip6 daddr ::1 return
        tcp dport { 5432 } return
        meta l4proto tcp redirect to :4140
      }
    }
    "
  `);
});

test('without nft_socket every connection is redirected', () => {
  const rules = redirectRules({ skipInbound: [], skipOutbound: [], listeningOnly: false });
  expect(rules).toContain('    meta l4proto tcp redirect to :4143\n');
});

test.each(['80', '1-65535', '1000-2000'])('%s is a port range', (text) => expect(isPortRange(text)).toBe(true));
test.each(['', '0', '65536', '20-10', 'http', '1-', '80;drop'])('%j is none', (text) =>
  expect(isPortRange(text)).toBe(false),
);
