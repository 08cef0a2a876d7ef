import type { Logger } from "./logger.js";

/** The least time between two log lines of an outage in milliseconds: while it lasts, and when another one follows. */
const logWhile = 60_000;
const logAfter = 5_000;

/**
 * Outage logs that watches are interrupted: the service cannot be reached, or it has ended a stream. One outage can interrupt thousands
 * of watches: it makes one line, and one more a minute while further watches are interrupted.
 */
export class Outage {
  readonly #logger: Logger;
  /** Interrupted watches. */
  #stale = 0;
  /** The time of the last line, by performance.now. */
  #logged = -Infinity;

  /** Makes an outage that has not begun. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Counts an interrupted watch. */
  begin(error: unknown): void {
    this.#stale++;
    const now = performance.now();
    if (now - this.#logged < (this.#stale > 1 ? logWhile : logAfter)) return;
    this.#logged = now;
    const details = { error, staleStreams: this.#stale };
    this.#logger.warn("sse: a watch was interrupted; its page shows stale data and the watch retries", details);
  }

  /** Counts a watch that the service answers again, or that has ended. */
  end(answered: boolean): void {
    this.#stale--;
    if (this.#stale === 0 && answered) this.#logger.info("sse: the service answers all watches again");
  }
}
