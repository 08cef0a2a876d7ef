import type { Client } from "../client.js";
import type { Outage } from "./outage.js";

/** Check is one check of the service. It resolves to the error, or to undefined if the service answers. */
interface Check {
  /** By performance.now. */
  readonly began: number;
  readonly done: Promise<unknown>;
}

/** Reach checks whether the service answers, for users without a session. All of them share one check in an interval. */
export class Reach {
  readonly #client: Pick<Client, "ready">;
  readonly #outage: Outage;
  readonly #interval: number;
  readonly #timeout: number;
  #last: Check | undefined;
  /** Counted in the outage. */
  #stale = false;

  /** Makes a Reach. interval is the time for which an answer counts, and timeout that of a check, in milliseconds. */
  constructor(client: Pick<Client, "ready">, outage: Outage, interval: number, timeout: number) {
    this.#client = client;
    this.#outage = outage;
    this.#interval = interval;
    this.#timeout = timeout;
  }

  /** Resolves to whether the service answered a check of the last interval, or answers one now. It does not reject. */
  async reachable(): Promise<boolean> {
    if (this.#last === undefined || performance.now() - this.#last.began >= this.#interval) {
      this.#last = { began: performance.now(), done: this.#check() };
    }
    return (await this.#last.done) === undefined;
  }

  /** Makes a check, and logs a result that differs from the one before. The check costs no read: see Client.ready. */
  async #check(): Promise<unknown> {
    let error: unknown;
    try {
      await this.#client.ready({ timeout: this.#timeout });
    } catch (failed) {
      error = failed ?? new Error("the service does not answer");
    }
    const stale = error !== undefined;
    if (stale && !this.#stale) this.#outage.begin(error);
    if (!stale && this.#stale) this.#outage.end(true);
    this.#stale = stale;
    return error;
  }
}
