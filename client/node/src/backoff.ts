/**
 * Backoff computes the wait before the next try: a random part of a ceiling that doubles with each failure ("full jitter"), so that
 * the watchers of a server that was lost do not return at the same time. All times are in milliseconds.
 */
export class FullJitter {
  readonly base: number;
  readonly max: number;

  constructor(base: number, max: number) {
    this.base = base;
    this.max = max;
  }

  /** Returns the longest wait after this number of failures in a row, from 1. */
  ceiling(failures: number): number {
    // 2 ** 40 is beyond any sensible max, and keeps the product finite.
    return Math.min(this.base * 2 ** Math.min(failures - 1, 40), this.max);
  }

  /** Returns a wait after this number of failures in a row, from 1. */
  random(failures: number): number {
    return Math.random() * this.ceiling(failures);
  }

  /** Returns a wait in the upper two thirds of the ceiling, in which connections are tried again. */
  late(failures: number): number {
    const ceiling = this.ceiling(failures);
    return ceiling / 3 + (Math.random() * ceiling * 2) / 3;
  }
}

/** The backoff of a client without the option. */
export const defaultBackoff = new FullJitter(500, 3000);

/** The longest wait that a server can ask for, in milliseconds. */
export const maxRetryAfter = 3_600_000;
