import { FullJitter } from "./backoff.js";
import { VerificationError } from "./errors.js";

/** The highest number of tries of one call. */
const maxAttempts = 4;

/** Doubling from 0.2 s, at most 2 s. */
const repeatBackoff = new FullJitter(200, 2000);

/** Of a throttle that is full, and what a success adds. A call is repeated only while the throttle is more than half full. */
const maxTokens = 20;
const tokenRatio = 0.2;

/**
 * Repeats decide whether a call that changes nothing is tried again: after UNAVAILABLE, and after ABORTED, with which the service
 * reports a conflict of writers. All calls of a client share a throttle, so that an outage is not made worse by repetitions.
 */
export class Repeats {
  #tokens = maxTokens;

  /** Notes a call that succeeded. */
  succeeded(): void {
    this.#tokens = Math.min(this.#tokens + tokenRatio, maxTokens);
  }

  /** Returns the wait before another try after this number of failures, in milliseconds, or undefined: no other try. */
  waitAfter(error: unknown, failures: number): number | undefined {
    const temporary = error instanceof VerificationError && (error.code === "UNAVAILABLE" || error.code === "ABORTED");
    if (!temporary) {
      return undefined;
    }
    this.#tokens = Math.max(this.#tokens - 1, 0);
    return failures < maxAttempts && this.#tokens > maxTokens / 2 ? repeatBackoff.random(failures) : undefined;
  }
}
