/**
 * Reads connections into one buffer for all of them. Node makes a buffer of 64 KiB outside the heap for each read,
 * another of the right size, and an object for it that the collector has to find again: measured, a third of
 * what a server that answers each read with 120 bytes takes. Nearly all that is read is parsed and copied into a frame before the next read.
 */
import { Socket } from 'node:net';
import { leftBehind } from '../process/reclaim.ts';

/** What one read takes at most. */
const memory = Buffer.allocUnsafeSlow(64 << 10);

// What little is kept of reads is pooled by Node; a request that takes long holds no more than this of a pool.
Buffer.poolSize = 8 << 10;

/** Node's own fields behind the option `onread` of `connect()`, which servers do not have. */
interface Reader {
  _handle?: { useUserBuffer?(memory: Buffer): void } | null;
  [field: symbol]: unknown;
}

const fields = Object.getOwnPropertySymbols(new Socket());
const bufferField = fields.find(({ description }) => description === 'kBuffer');
const callbackField = fields.find(({ description }) => description === 'kBufferCb');

/**
 * From now on the `data` of a connected socket belong to its listeners during the event only: who keeps them takes
 * `owned(bytes)`. Where a Node has no such way, each read has a buffer of its own.
 */
export function shareReads(socket: Socket): void {
  const reader = socket as unknown as Reader;
  const { _handle: handle } = reader;
  if (!handle?.useUserBuffer || !bufferField || !callbackField) return;
  handle.useUserBuffer(memory);
  reader[bufferField] = memory;
  reader[callbackField] = onRead;
}

/** What was read last, and the part of it that was asked for last: most reads of a large body have the bounds of the one before. */
let whole = memory;
let part = memory;
let partStart = 0;
const { buffer: memoryBuffer } = memory;

/** False: read no more for now. */
function onRead(this: Socket, size: number): boolean {
  if (whole.length !== size) whole = memory.subarray(0, size);
  if (!this.readableFlowing || this.readableLength > 0) return this.push(Buffer.from(whole));
  this.emit('data', whole);
  return true;
}

/** Whether the bytes are good for the present event only. */
export function isShared(bytes: Buffer): boolean {
  return bytes === part || bytes === whole || bytes.buffer === memoryBuffer;
}

/** `bytes.subarray(start, end)`, without a new object where that of an earlier read will do. */
export function partOf(bytes: Buffer, start: number, end: number): Buffer {
  if (bytes !== whole) return bytes.subarray(start, end);
  if (partStart === start && part.length === end - start) return part;
  partStart = start;
  part = memory.subarray(start, end);
  return part;
}

/** The same bytes, to keep: a copy where the next read would overwrite them. */
export function owned(bytes: Buffer): Buffer {
  return isShared(bytes) ? copied(bytes) : bytes;
}

/** A copy, to keep for a while. */
export function copied(bytes: Buffer): Buffer {
  leftBehind(bytes.length);
  return Buffer.from(bytes);
}
