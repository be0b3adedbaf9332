/** From changes and arrivals to how long each subscribed proxy waited for each change. */
import type { Address } from '../../protocol/discovery.ts';
import type { Arrival, Changed } from './messages.ts';

export interface Latencies {
  /** Milliseconds, sorted; one per change and subscribed proxy. */
  all: number[];
  /** Of each change, until the last proxy had it; sorted. */
  slowest: number[];
  /** Proxies that were never told of a change. */
  lost: number;
}

/** `subscribers`: proxies that must hear of an address. */
export function latenciesOf(
  changes: Changed[],
  arrivals: Arrival[],
  subscribers: (address: Address) => number[],
): Latencies {
  const byPlace = new Map<string, Arrival[]>();
  for (const arrival of arrivals) {
    const place = `${arrival.proxy} ${arrival.address}`;
    const known = byPlace.get(place);
    if (known) known.push(arrival);
    else byPlace.set(place, [arrival]);
  }
  const all: number[] = [];
  const slowest: number[] = [];
  let lost = 0;
  for (const { address, at, state } of changes) {
    let last = 0;
    for (const proxy of subscribers(address)) {
      const heard = byPlace.get(`${proxy} ${address}`)?.find((one) => one.state === state && one.at >= at);
      if (!heard) {
        lost++;
        continue;
      }
      const waited = heard.at - at;
      all.push(waited);
      last = Math.max(last, waited);
    }
    slowest.push(last);
  }
  const ascending = (a: number, b: number) => a - b;
  return { all: all.sort(ascending), slowest: slowest.sort(ascending), lost };
}
