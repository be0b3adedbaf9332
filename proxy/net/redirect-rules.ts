/** The nft rules that bring a pod's TCP traffic to its proxy. */
import { adminPort, hbonePort, inboundPort, outboundPort, proxyUid } from '../../protocol/ports.ts';
import type { SkippedPorts } from '../../protocol/redirect.ts';

export interface RedirectOptions extends SkippedPorts {
  /**
   * Redirects only where the application listens: else a connection is refused as it would be without the mesh, and a
   * TCP probe does not take the proxy for the application. Needs the kernel's nft_socket.
   */
  listeningOnly: boolean;
}

/** Whether a text is a port or an ascending range of ports. */
export function isPortRange(text: string): boolean {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return false;
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  return from >= 1 && to <= 65535 && from <= to;
}

/** A whole nft script; applying it again replaces what it made before, in one transaction. */
export function redirectRules(options: RedirectOptions): string {
  const inbound = [String(hbonePort), String(adminPort), ...options.skipInbound].join(', ');
  const skipOutbound =
    options.skipOutbound.length > 0 ? `    tcp dport { ${options.skipOutbound.join(', ')} } return\n` : '';
  // Not `socket wildcard`: it says nothing of a socket in TIME_WAIT, and a connection that takes its place would pass by.
  const listening = options.listeningOnly ? ' socket transparent { 0, 1 }' : '';
  return `table inet mesh
delete table inet mesh
table inet mesh {
  chain inbound {
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport { ${inbound} } return
    meta l4proto tcp${listening} redirect to :${inboundPort}
  }
  chain outbound {
    type nat hook output priority -100; policy accept;
    meta skuid ${proxyUid} return
    oifname "lo" return
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
${skipOutbound}    meta l4proto tcp redirect to :${outboundPort}
  }
}
`;
}
