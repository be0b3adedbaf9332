/**
 * Sockets in another network namespace. A socket belongs to the namespace of the thread that opened it, so one thread
 * may step aside, open it, and step back: connections to a pod's loopback cost microseconds and no helper process.
 */

import ffi from 'node:ffi';
import { closeSync, openSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

const inet = 2;
const stream = 1;
const nonBlocking = 0o4000;
const closeOnExec = 0o2000000;
const inProgress = 115;
const newNet = 0x40000000;

const { functions: libc } = ffi.dlopen(null, {
  setns: { arguments: ['int32', 'int32'], return: 'int32' },
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  bind: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
  listen: { arguments: ['int32', 'int32'], return: 'int32' },
  connect: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
  __errno_location: { arguments: [], return: 'pointer' },
});

/** `sockaddr_in` of Linux: family in host order, port in network order. */
function socketAddress(address: string, port: number): Buffer {
  const made = Buffer.alloc(16);
  made.writeUInt16LE(inet, 0);
  made.writeUInt16BE(port, 2);
  made.set(address.split('.').map(Number), 4);
  return made;
}

function errno(): number {
  return ffi.getInt32(libc.__errno_location());
}

function failure(call: string): Error {
  const code = getSystemErrorName(-errno());
  return Object.assign(new Error(`${call}: ${code}`), { code });
}

/** Opens a socket where this thread is. */
function openSocket(open: (socket: number) => number): number {
  const socket = libc.socket(inet, stream | nonBlocking | closeOnExec, 0);
  if (socket < 0) throw failure('socket');
  const result = open(socket);
  if (result !== 0 && errno() !== inProgress) {
    const cause = failure('socket');
    closeSync(socket);
    throw cause;
  }
  return socket;
}

/** Takes this thread into a network namespace, for good unless it comes back. */
export function enterNetwork(namespace: string): void {
  const target = openSync(namespace, 'r');
  try {
    if (libc.setns(target, newNet) !== 0) throw failure('setns');
  } finally {
    closeSync(target);
  }
}

/** Opens a socket while the thread is in the namespace of the file `namespace`. */
function inNamespace(namespace: string, open: () => number): number {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    enterNetwork(namespace);
    try {
      return open();
    } finally {
      // Without the way back, everything this process opens afterwards would be in the wrong place.
      if (libc.setns(home, newNet) !== 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

/** Descriptor of a connection, perhaps still being made, to an IPv4 address. */
export function connectingSocket(address: string, port: number): number {
  const target = socketAddress(address, port);
  return openSocket((socket) => libc.connect(socket, target, target.length));
}

/** Descriptor of a listening socket that nobody accepts from yet. Throws with the system's code. */
export function listeningSocket(address: string, port: number): number {
  const target = socketAddress(address, port);
  const reuse = Buffer.from([1, 0, 0, 0]);
  return openSocket((socket) => {
    libc.setsockopt(socket, 1, 2, reuse, 4);
    return libc.bind(socket, target, target.length) || libc.listen(socket, 511);
  });
}

/** A connection, perhaps still being made, to an IPv4 address inside a network namespace (a file like /proc/1/ns/net). */
export function connectIn(namespace: string, address: string, port: number): Socket {
  const fd = inNamespace(namespace, () => connectingSocket(address, port));
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
}

/** A server on an IPv4 address inside a network namespace. */
export function listenIn(
  namespace: string,
  address: string,
  port: number,
  accept: (socket: Socket) => void,
): Promise<Server> {
  const fd = inNamespace(namespace, () => listeningSocket(address, port));
  const server = createServer({ allowHalfOpen: true }, accept);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd }, () => resolve(server));
  });
}

/** Copies bytes both ways; each direction ends on its own, an error ends both. */
export function relay(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.setNoDelay(true);
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      if (from.errored || !from.readableEnded) to.destroy();
    });
  }
}
