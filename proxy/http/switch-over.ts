/** After a 101: the bytes are the applications' own, and count for the request that asked for it. */
import type { Duplex } from 'node:stream';
import { noBytes, splice } from '../net/splice.ts';
import type { Exchange, HttpObserver } from './exchange.ts';

/** `early`: what the client sent behind its request. */
export function switchOver(
  client: Duplex,
  server: Duplex,
  early: Buffer | undefined,
  exchange: Exchange,
  observer: HttpObserver,
): void {
  if (early) server.write(early);
  const counters = noBytes();
  splice(client, server, counters, () => {
    exchange.sentBytes += counters.sentBytes;
    exchange.receivedBytes += counters.receivedBytes;
    observer.requestEnd(exchange);
  });
}
