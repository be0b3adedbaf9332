/** The address a redirected connection was meant for: getsockopt(SO_ORIGINAL_DST), which Node itself does not offer. */

import type { Socket } from 'node:net';
import { type Address, formatAddress } from '../../protocol/discovery.ts';
import { fdOf, getsockopt } from './socket-options.ts';

// linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;

const address = Buffer.alloc(28);
const size = Buffer.alloc(4);

/** undefined where the connection was not redirected, or is gone. */
export function originalDestination(socket: Socket): Address | undefined {
  const fd = fdOf(socket);
  if (fd < 0) return undefined;
  return query(fd, SOL_IP) ?? query(fd, SOL_IPV6);
}

function query(fd: number, level: number): Address | undefined {
  size.writeUInt32LE(address.length);
  if (getsockopt(fd, level, SO_ORIGINAL_DST, address, size) !== 0) return undefined;
  const family = address.readUInt16LE(0);
  const port = address.readUInt16BE(2);
  if (family === AF_INET) return formatAddress(`${address[4]}.${address[5]}.${address[6]}.${address[7]}`, port);
  if (family !== AF_INET6) return undefined;
  const words: string[] = [];
  for (let i = 8; i < 24; i += 2) words.push(address.readUInt16BE(i).toString(16));
  return formatAddress(normalize(words), port);
}

/** An IPv4-mapped address as IPv4; any other with its longest run of zeros shortened (RFC 5952). */
function normalize(words: string[]): string {
  if (words.slice(0, 5).every((word) => word === '0') && words[5] === 'ffff') {
    const [high, low] = [Number.parseInt(words[6]!, 16), Number.parseInt(words[7]!, 16)];
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  const runs = [...words.join(':').matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length);
  if (runs.length === 0) return words.join(':');
  const text = words.join(':');
  const run = runs[0]!;
  return `${text.slice(0, run.index)}::${text.slice(run.index + run[0].length).replace(/^:/, '')}`;
}
