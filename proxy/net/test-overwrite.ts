/** Overwrites what was read as soon as the event is over, in all unit tests: whoever kept it shows. */
import { Socket } from 'node:net';
import { isShared } from './shared-reads.ts';

const { emit } = Socket.prototype;
Socket.prototype.emit = function (this: Socket, event: string | symbol, ...rest: unknown[]): boolean {
  const heard = emit.call(this, event, ...rest);
  const [bytes] = rest;
  if (event === 'data' && Buffer.isBuffer(bytes) && isShared(bytes)) bytes.fill(0xdd);
  return heard;
};
