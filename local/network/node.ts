/** Sets up the node's network namespace and the link of each pod to it. Everything here runs inside that namespace. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { apiServiceAddress, dnsAddress, nodeAddress, serviceCidr } from './addresses.ts';

const run = promisify(execFile);

/** Shell lines that make a fresh network namespace the node's. Service addresses are routed to loopback so that the
 *  kernel finds a route before the service rules rewrite the destination. */
export const nodeNetworkScript = `ip link set lo up
ip addr add ${nodeAddress}/32 dev lo
ip addr add ${apiServiceAddress}/32 dev lo
ip addr add ${dnsAddress}/32 dev lo
ip route add ${serviceCidr} dev lo src ${nodeAddress}
ip route add default dev lo src ${nodeAddress}
for key in ipv4.ip_forward=1 ipv4.conf.all.rp_filter=0 ipv4.conf.default.rp_filter=0 ipv4.conf.all.route_localnet=0; do
  echo "\${key#*=}" > "/proc/sys/net/$(echo "\${key%=*}" | tr . /)" 2>/dev/null || true
done`;

/** Interface names hold 15 characters; the address is unique among running pods. */
function interfaceOf(address: string): string {
  const [, , high, low] = address.split('.');
  return `pod${high}x${low}`;
}

/** Connects the network namespace of a process to the node: one veth pair, /32 routes, no bridge. */
export async function attachPod(pid: number, address: string): Promise<void> {
  const name = interfaceOf(address);
  await run('sh', [
    '-ec',
    `ip link del ${name} 2>/dev/null || true
ip link add ${name} type veth peer name eth0 netns ${pid}
ip link set ${name} up
ip route replace ${address}/32 dev ${name} src ${nodeAddress}
nsenter --net=/proc/${pid}/ns/net sh -ec '
ip link set lo up
ip addr add ${address}/32 dev eth0
ip link set eth0 up
ip route add ${nodeAddress} dev eth0 scope link
ip route add default via ${nodeAddress} dev eth0
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start || true
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse || true'`,
  ]);
}

export async function detachPod(address: string): Promise<void> {
  await run('ip', ['link', 'del', interfaceOf(address)]).catch((error: Error) => {
    if (!error.message.includes('Cannot find device')) throw error;
  });
}
