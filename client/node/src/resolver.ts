import { FullJitter } from "./backoff.js";
import type { Endpoint, Target } from "./target.js";

/** The shortest time between two resolutions, in milliseconds, as in gRPC. */
const defaultInterval = 30_000;

const failureBackoff = new FullJitter(1000, 30_000);

/** Resolver finds the addresses of targets: at the start, and again when a connection is lost or cannot be opened. */
export class Resolver {
  readonly #targets: readonly Target[];
  readonly #found: (endpoints: readonly Endpoint[]) => void;
  readonly #failed: (error: Error) => void;
  readonly #isFixed: boolean;
  readonly #interval: number;
  /** The last addresses of each target. If a name cannot be resolved, its earlier addresses can still be right. */
  readonly #last: (readonly Endpoint[])[];
  #timer: NodeJS.Timeout | undefined;
  #isResolving = false;
  #resolvedAt = -Infinity;
  #failures = 0;
  #closed = false;

  constructor(
    targets: readonly Target[],
    found: (endpoints: readonly Endpoint[]) => void,
    failed: (error: Error) => void,
    interval = defaultInterval,
  ) {
    this.#interval = interval;
    this.#targets = targets;
    this.#found = found;
    this.#failed = failed;
    this.#last = targets.map((target) => target.fixed ?? []);
    this.#isFixed = targets.every((target) => target.fixed !== undefined);
  }

  /** Begins. Addresses that need no resolution are found before it returns. */
  start(): void {
    if (this.#isFixed) {
      this.#found(this.#last.flat());
    } else {
      void this.#resolve();
    }
  }

  /** Resolves the names again, not more often than every 30 s. */
  resolveSoon(): void {
    if (this.#isFixed || this.#closed || this.#isResolving || this.#timer !== undefined) {
      return;
    }
    const wait = Math.max(this.#resolvedAt + this.#interval - performance.now(), 0);
    this.#timer = setTimeout(() => void this.#resolve(), wait).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #resolve(): Promise<void> {
    this.#timer = undefined;
    this.#isResolving = true;
    const failures = await Promise.all(this.#targets.map((target, i) => this.#resolveOne(target, i)));
    this.#isResolving = false;
    if (this.#closed) {
      return;
    }
    const failure = failures.find((failure) => failure !== undefined);
    const endpoints = this.#last.flat();
    if (endpoints.length > 0) {
      this.#found(endpoints);
    } else if (failure !== undefined) {
      this.#failed(failure);
    }
    this.#resolvedAt = performance.now();
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    if (failure !== undefined) {
      this.#timer = setTimeout(() => void this.#resolve(), failureBackoff.random(this.#failures)).unref();
    }
  }

  /** Resolves one target. It returns why that failed. */
  async #resolveOne(target: Target, i: number): Promise<Error | undefined> {
    try {
      const endpoints = await target.resolve();
      if (endpoints.length === 0) {
        return new Error("the name has no address");
      }
      this.#last[i] = endpoints;
      return undefined;
    } catch (error) {
      return new Error(`the name cannot be resolved: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
