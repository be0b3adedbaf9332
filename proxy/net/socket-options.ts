/** getsockopt(2) and setsockopt(2), for options that Node does not offer. Numbers are those of Linux. */
import { dlopen } from 'node:ffi';
import type { Socket } from 'node:net';

type Get = (fd: number, level: number, name: number, value: Buffer, size: Buffer) => number;
type Set = (fd: number, level: number, name: number, value: Buffer, size: number) => number;

const { functions } = dlopen(null, {
  getsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'buffer'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
});

/** Both give 0, or -1 where the option is refused. */
export const getsockopt = functions.getsockopt as Get;
export const setsockopt = functions.setsockopt as Set;

/** -1 where it has none, or none any more. */
export function fdOf(socket: Socket): number {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
}
