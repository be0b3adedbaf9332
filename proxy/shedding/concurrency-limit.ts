/**
 * How many requests an application may have at once before more would only wait in it: adapted to measured latency.
 *
 * Latency alone does not tell an overloaded application from a slow one, so a limit takes suspicion and proof.
 * Suspicion: for several windows even the fastest tenth of the requests has waited longer than the mean one took
 * before (as CoDel does, RFC 8289: a low quantile is not raised by slow requests among fast ones, nor by a burst that
 * is worked off). Proof: fewer requests at once, and it answers as many. An application whose requests wait in a queue
 * does; one that waits for something else does not (Little's law), and then the limit is lifted and its latency the new
 * usual.
 */

/** What was seen of the application in one window of time. */
export interface Window {
  /** Length, milliseconds. */
  duration: number;
  /** Requests answered. */
  answered: number;
  /** Their latencies, milliseconds: mean and fastest tenth. */
  mean: number;
  fastest: number;
  /** Requests in flight as it began, and as it ended. */
  before: number;
  after: number;
  /** Whether a request found the limit reached. */
  reached: boolean;
  /** Requests turned away. */
  shed: number;
}

const shortestWindowMs = 100;
const windowSamples = 20;
/** A limit is never lower: an application of one worker has one to work at and some to go on with. */
const lowest = 3;
/** An application that is as fast as this is not overloaded, milliseconds (CoDel's target). */
const targetMs = 5;
const suspiciousWindows = 3;
/** At the lowest limit so many windows say that the application has become slower. */
const slowWindows = 20;
/** What a cut leaves, and what that must leave of the answers per second: far apart, since a busy machine's rate varies. */
const cutTo = 0.5;
const cutRate = 0.7;
const vainWindows = 2;
/** The same of a probe; and what is so little that the cut before proved nothing. */
const probeTo = 0.7;
const probeRate = 0.9;
const starvedRate = 0.4;
/** Of what an application works at at once, as much as it may have: the rest waits in it, so that it never idles. */
const ample = 1.5;
/** A limit that turns away more than this share does not grow beyond that: few workers have queues without overload. */
const most = 2;
const fewShed = 0.05;
/** After a cut for nothing the next waits so long, twice as long after each, milliseconds. */
const firstRestMs = 2_000;
const longestRestMs = 300_000;
/** The same of probes of a limit. */
const firstProbeMs = 2_000;
const longestProbeMs = 60_000;
/** A limit that was not reached for so long is lifted, milliseconds. */
const unusedMs = 10_000;
/** The usual latency follows a higher one in about this time, and a lower one, milliseconds. */
const upMs = 30_000;
const downMs = 10_000;
/** The answers per second under a limit follow new ones by this part of the difference in each window. */
const rateStep = 0.2;

/**
 * `open`: no limit. `cut`: fewer than there were on suspicion, to see what comes of it. `limited`: proven. `probe`: a lower
 * limit for a moment, kept where the application answers as many.
 */
type State = 'open' | 'cut' | 'limited' | 'probe';

export class ConcurrencyLimit {
  /** Requests at once; Infinity while there is no sign of overload. */
  limit = Number.POSITIVE_INFINITY;
  /** Mean latency while nothing is wrong, milliseconds; 0 before anything is known. */
  usual = 0;
  /** The next window lasts so long at least, milliseconds, and has so many answers at least. */
  windowMs = shortestWindowMs;
  windowSamples = windowSamples;
  #state: State = 'open';
  #suspicions = 0;
  /** Answers per millisecond: in the suspicious windows, and under the limit. */
  #rate = 0;
  /** The limit before a probe. */
  #former = 0;
  /** Windows in which a cut proved nothing, or probes that found an application slower. */
  #vain = 0;
  #restUntil = 0;
  #restMs = firstRestMs;
  #probeAt = 0;
  #probeMs = firstProbeMs;
  #reachedAt = 0;

  /** Takes a window that has just ended; true where the limit was lowered: the next begins when it is kept to. */
  take(window: Window, now: number): boolean {
    if (this.usual === 0) this.usual = window.mean;
    if (window.reached) this.#reachedAt = now;
    const waits = window.fastest > this.usual + Math.max(this.usual, targetMs);
    if (!waits) this.#follow(window);
    switch (this.#state) {
      case 'open':
        return this.#suspect(window, waits, now);
      case 'cut':
        return this.#judgeCut(window, now);
      case 'limited':
        return this.#adjust(window, waits, now);
      case 'probe':
        return this.#judgeProbe(window, now);
    }
  }

  #suspect(window: Window, waits: boolean, now: number): boolean {
    // What is being worked off needs no help.
    const standing = window.after >= 0.9 * window.before && window.after > lowest;
    this.#suspicions = waits && standing ? this.#suspicions + 1 : 0;
    // The mean of the windows behind the first suspicious one: where all became slower, that has few answers.
    this.#rate += (rateOf(window) - this.#rate) / (this.#suspicions < suspiciousWindows ? 1 : 2);
    if (this.#suspicions < suspiciousWindows || now < this.#restUntil) return false;
    this.#reachedAt = now;
    return this.#lower('cut', cutTo * window.after, window.mean, 2 * windowSamples);
  }

  #judgeCut(window: Window, now: number): boolean {
    // Where the limit was not reached, the load has gone.
    if (!window.reached) this.#open();
    else if (rateOf(window) >= cutRate * this.#rate) {
      this.#restMs = firstRestMs;
      this.#probeMs = firstProbeMs;
      return this.#keep(window, now);
    } else if (++this.#vain >= vainWindows) {
      // The cut was for nothing: the application is slower, not overloaded.
      this.usual = window.mean;
      this.#restUntil = now + this.#restMs;
      this.#restMs = Math.min(longestRestMs, 2 * this.#restMs);
      this.#open();
    }
    return false;
  }

  #adjust(window: Window, waits: boolean, now: number): boolean {
    if (!window.reached) {
      this.#suspicions = 0;
      if (now - this.#reachedAt > unusedMs) this.#open();
      return false;
    }
    this.#suspicions = waits ? this.#suspicions + 1 : 0;
    this.#rate += rateStep * (rateOf(window) - this.#rate);
    if (this.limit > lowest) {
      if (now >= this.#probeAt || this.#suspicions >= suspiciousWindows) return this.#probe(window);
    } else if (this.#suspicions >= slowWindows) {
      this.usual = window.mean;
      this.#suspicions = 0;
    }
    const room = this.limit < most * this.#rate * this.usual || window.shed < fewShed * window.answered;
    if (room && window.fastest < this.usual + targetMs) this.limit += Math.ceil(Math.sqrt(this.limit));
    return false;
  }

  #judgeProbe(window: Window, now: number): boolean {
    const rate = rateOf(window);
    if (!window.reached || rate >= probeRate * this.#rate) return this.#keep(window, now);
    // It has less than it can work at, so that none waits: this is what one takes.
    const latency = this.limit / rate;
    const suspicious = this.#suspicions >= suspiciousWindows;
    if (suspicious && rate < starvedRate * this.#rate) {
      this.usual = latency;
      this.#open();
      return false;
    }
    if (suspicious && ++this.#vain >= vainWindows) {
      this.usual = latency;
      this.#vain = 0;
    }
    this.#limited(Math.min(this.#former, Math.ceil(ample * this.#rate * latency)), now);
    return false;
  }

  /** With the lower limit it answers as many: a lower one may do. */
  #keep(window: Window, now: number): boolean {
    this.#vain = 0;
    if (window.reached) {
      // Little's law; nobody takes longer for want of others.
      this.usual = Math.min(this.usual, this.limit / rateOf(window));
      if (this.limit > lowest) return this.#probe(window);
    }
    this.#limited(this.limit, now);
    return false;
  }

  #limited(limit: number, now: number): void {
    this.limit = limit;
    this.#state = 'limited';
    this.#suspicions = 0;
    this.windowMs = shortestWindowMs;
    this.windowSamples = windowSamples;
    this.#probeAt = now + this.#probeMs;
    this.#probeMs = Math.min(longestProbeMs, 2 * this.#probeMs);
  }

  #probe(window: Window): boolean {
    this.#former = this.limit;
    const to = Math.min(probeTo * this.limit, ample * this.#rate * this.usual);
    return this.#lower('probe', to, window.mean, windowSamples);
  }

  /**
   * The next window lasts a latency: requests that were begun together end together, as fast as before the cut. It lasts as
   * long as so many answers take at the rate before, whether they come or not.
   */
  #lower(state: State, to: number, latency: number, answers: number): boolean {
    this.#state = state;
    this.limit = Math.max(lowest, Math.ceil(to));
    this.windowMs = Math.max(shortestWindowMs, latency, answers / this.#rate);
    this.windowSamples = 1;
    return true;
  }

  #open(): void {
    this.limit = Number.POSITIVE_INFINITY;
    this.windowMs = shortestWindowMs;
    this.windowSamples = windowSamples;
    this.#suspicions = 0;
    this.#vain = 0;
    this.#state = 'open';
  }

  #follow({ mean, duration }: Window): void {
    // Under a limit some wait always; that must not become usual.
    if (mean > this.usual && this.#state !== 'open') return;
    this.usual += (1 - Math.exp(-duration / (mean > this.usual ? upMs : downMs))) * (mean - this.usual);
  }
}

/** Answers per millisecond. */
function rateOf({ answered, duration }: Window): number {
  return answered / duration;
}
