/**
 * How many requests an application may have at once before more would only wait in it: adapted to measured latency.
 *
 * Latency alone does not tell an overloaded application from a slow one, so a limit takes suspicion and proof.
 * Suspicion: for several windows even the fastest tenth of the requests has waited longer than the mean one took
 * before (as CoDel does, RFC 8289: a low quantile is not raised by slow requests among fast ones, nor by a burst that
 * is worked off). Proof: fewer requests at once, and it is faster. An application whose requests wait in a queue is
 * (Little's law); one that waits for something else is not, and then the limit is lifted and its latency the new usual.
 */

/** What was seen of the application in one window of time. */
export interface Window {
  /** Length, milliseconds. */
  duration: number;
  /** Requests answered. */
  answered: number;
  /** Latencies, milliseconds, of those of them that began behind the last cut: mean and fastest tenth. */
  mean: number;
  fastest: number;
  /** Requests in flight as it began, and as it ended. */
  before: number;
  after: number;
  /** Whether a request found the limit reached. */
  reached: boolean;
}

/** A limit is never lower: an application of one worker has one to work at and some to go on with. */
const lowest = 3;
/** An application that is as fast as this is not overloaded, milliseconds (CoDel's target). */
const targetMs = 5;
const suspiciousWindows = 3;
const vainWindows = 2;
/** What a cut leaves at most, so that its effect is beyond doubt; and what that must leave of the latency. */
const cutTo = 0.65;
const proof = 0.85;
/** Of what an application works at at once, as much as it may have: the rest waits in it, so that it never idles. */
const ample = 1.5;
/** After a cut for nothing the next waits so long, twice as long after each, milliseconds. */
const firstRestMs = 5_000;
const longestRestMs = 300_000;
/** A limit that was not reached for so long is lifted, milliseconds. */
const unusedMs = 10_000;
/** The usual latency follows a higher one in about this time, and a lower one, milliseconds. */
const upMs = 30_000;
const downMs = 10_000;

/**
 * `open`: no limit. `hold`: as many as there were on suspicion, to measure by. `cut`: fewer, to see what comes of it.
 * `limited`: proven.
 */
type State = 'open' | 'hold' | 'cut' | 'limited';

export class ConcurrencyLimit {
  /** Requests at once; Infinity while there is no sign of overload. */
  limit = Number.POSITIVE_INFINITY;
  /** Mean latency while nothing is wrong, milliseconds; 0 before anything is known. */
  usual = 0;
  #state: State = 'open';
  #suspicions = 0;
  /** Windows in which the cut has changed nothing. */
  #vain = 0;
  /** The fastest tenth before the cut, milliseconds. */
  #uncut = 0;
  #restUntil = 0;
  #restMs = firstRestMs;
  #reachedAt = 0;

  /** Takes a window that has just ended; true where the limit was lowered: what is in flight says nothing of it. */
  take(window: Window, now: number): boolean {
    if (this.usual === 0) this.usual = window.mean;
    if (window.reached) this.#reachedAt = now;
    const waits = window.fastest > this.usual + Math.max(this.usual, targetMs);
    if (!waits) this.#follow(window);
    switch (this.#state) {
      case 'open':
        return this.#suspect(window, waits, now);
      case 'hold':
        if (!waits) this.#open();
        else if (window.reached) return this.#cut(window, this.limit * cutTo);
        return false;
      case 'cut':
        // Where the limit was not reached, it is not the cut that one sees.
        if (waits && !window.reached) return false;
        if (waits && window.fastest > proof * this.#uncut) {
          if (++this.#vain >= vainWindows) this.#lift(window, now);
          return false;
        }
        this.#proven();
        return waits && this.#cut(window, this.#ample(window));
      case 'limited':
        this.#suspicions = waits && window.reached ? this.#suspicions + 1 : 0;
        if (this.#suspicions >= suspiciousWindows) return this.#cut(window, this.#ample(window));
        if (now - this.#reachedAt > unusedMs) this.#open();
        else if (window.reached && window.fastest < this.usual + targetMs)
          this.limit += Math.ceil(Math.sqrt(this.limit));
        return false;
    }
  }

  #suspect(window: Window, waits: boolean, now: number): boolean {
    // What is being worked off needs no help.
    const standing = window.after >= 0.9 * window.before && window.after > lowest;
    this.#suspicions = waits && standing ? this.#suspicions + 1 : 0;
    if (this.#suspicions < suspiciousWindows || now < this.#restUntil) return false;
    this.#reachedAt = now;
    this.#state = 'hold';
    this.limit = window.after;
    return true;
  }

  /** More than the application works at at once (Little's law). */
  #ample({ answered, duration }: Window): number {
    return ample * (answered / duration) * this.usual;
  }

  #cut(window: Window, to: number): boolean {
    const limit = Math.max(lowest, Math.ceil(Math.min(to, cutTo * this.limit)));
    if (limit > cutTo * this.limit + 1) return false;
    this.#uncut = window.fastest;
    this.#state = 'cut';
    this.#vain = 0;
    this.limit = limit;
    return true;
  }

  #proven(): void {
    this.#state = 'limited';
    this.#suspicions = 0;
    this.#restMs = firstRestMs;
  }

  /** The cut was for nothing: the application is slower, not overloaded. */
  #lift(window: Window, now: number): void {
    this.usual = window.mean;
    this.#restUntil = now + this.#restMs;
    this.#restMs = Math.min(longestRestMs, 2 * this.#restMs);
    this.#open();
  }

  #open(): void {
    this.limit = Number.POSITIVE_INFINITY;
    this.#suspicions = 0;
    this.#state = 'open';
  }

  #follow({ mean, duration }: Window): void {
    // Under a limit some wait always; that must not become usual.
    if (mean > this.usual && this.#state !== 'open') return;
    this.usual += (1 - Math.exp(-duration / (mean > this.usual ? upMs : downMs))) * (mean - this.usual);
  }
}
