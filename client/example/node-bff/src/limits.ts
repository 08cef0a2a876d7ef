import { networkOf } from "./address.js";

/** Bound is what one bucket allows: burst presses at once, and one more each time that "every" milliseconds have passed. */
interface Bound {
  readonly burst: number;
  readonly every: number;
}

/**
 * The bounds of the presses of the button. They are those of the Go example: limits.go has the reason for each number. Each
 * process of the site counts for itself.
 */
const perPerson: Bound = { burst: 10, every: 30_000 };
const perAddress: Bound = { burst: 20, every: 6_000 };
/** perAddressDay bounds the presses that can cost a read of Stripe: 388 a day. The site has 1,250 with the service's defaults. */
const perAddressDay: Bound = { burst: 100, every: 5 * 60_000 };
/** allBegins bounds the sessions that are created for all persons together. */
const allBegins: Bound = { burst: 50, every: 100 };

/**
 * unknown has the addresses that say nothing about the browser: none, and that of this machine, of a proxy here that hides the
 * browsers or of the developer.
 */
const unknown = new Set(["", networkOf("127.0.0.1"), networkOf("::1")]);

/** maxBuckets bounds the persons, and the addresses, that have a bucket. At the limit, the oldest one gives way: it is full again. */
export const maxBuckets = 10_000;

/** Limits counts the presses of the button. */
export class Limits {
  readonly #persons = new Buckets(perPerson);
  readonly #addresses = new Buckets(perAddress);
  readonly #addressDay = new Buckets(perAddressDay);
  readonly #begins = new Buckets(allBegins);
  readonly #clock: () => number;

  /** The clock returns milliseconds and never goes back. */
  constructor(clock = () => performance.now()) {
    this.#clock = clock;
  }

  /**
   * press counts a press of a person. It throws a BusyError if the person or their address is over its bound. The addresses that
   * say nothing about the browser have no bound. isNew says that the press cannot cost a read of Stripe.
   */
  press(person: string, address: string, isNew: boolean): void {
    const counted: [Buckets, string][] = [[this.#persons, person]], known = !unknown.has(address);
    if (known) counted.push([this.#addresses, address]);
    if (known && !isNew) counted.push([this.#addressDay, address]);
    take(this.#clock(), counted);
  }

  /** begin counts a session that is about to be created. It throws a BusyError if all persons together are over the bound. */
  begin(): void {
    take(this.#clock(), [[this.#begins, "all"]]);
  }

  /** size returns how many buckets there are. */
  get size(): number {
    return this.#persons.size + this.#addresses.size + this.#addressDay.size;
  }
}

/** BusyError is the error of a press beyond a bound. */
export class BusyError extends Error {
  /** wait is the time until a press can pass, in milliseconds. */
  constructor(readonly wait: number) {
    super(`too many presses of the button: wait ${wait} ms`);
  }
}

/** take takes a press from each of these buckets, or from none if one has none left. */
function take(now: number, all: [Buckets, string][]): void {
  const wait = Math.max(...all.map(([buckets, key]) => buckets.wait(key, now)));
  if (wait > 0) throw new BusyError(wait);
  for (const [buckets, key] of all) buckets.take(key, now);
}

/** Buckets are the buckets of one bound, by person or by address. */
class Buckets {
  readonly #bound: Bound;
  /** When each bucket is full again, the one that was used last at the end. */
  readonly #full = new Map<string, number>();

  constructor(bound: Bound) {
    this.#bound = bound;
  }

  get size(): number {
    return this.#full.size;
  }

  /** wait returns the time until a press can pass, in milliseconds; 0: it can now. */
  wait(key: string, now: number): number {
    return Math.max(0, (this.#full.get(key) ?? 0) - now - (this.#bound.burst - 1) * this.#bound.every);
  }

  take(key: string, now: number): void {
    const full = Math.max(this.#full.get(key) ?? 0, now) + this.#bound.every;
    this.#full.delete(key);
    this.#full.set(key, full);
    if (this.#full.size <= maxBuckets) return;
    for (const oldest of this.#full.keys()) {
      this.#full.delete(oldest);
      return;
    }
  }
}
