import { onAbort } from "./abort.js";
import { FullJitter } from "./backoff.js";
import { Condition } from "./condition.js";
import type { Connection, Owner } from "./connection.js";
import type { Credentials } from "./credentials.js";
import { UnavailableError } from "./errors.js";
import { Health } from "./health.js";
import { type Lease, Pool } from "./pool.js";
import { Resolver } from "./resolver.js";
import type { Endpoint, Target } from "./target.js";

/** PickOptions say for which call a connection is chosen. */
export interface PickOptions {
  /** Whether the call is a watch. */
  readonly isStream: boolean;
  /** Whether the call fails if there is no connection and none is being opened. Otherwise it waits. */
  readonly failFast: boolean;
  /** Ends the wait. The pick rejects with its reason. */
  readonly signal: AbortSignal;
}

interface Waiting extends PickOptions {
  resolve(lease: Lease): void;
  reject(error: Error): void;
}

/**
 * Connections choose a connection for each call: round robin over the addresses, with as many connections to each address as its
 * calls need. gRPC's own balancers have one connection for each address. A call beyond the number of streams that the server or
 * proxy allows on it (nginx 128, HAProxy 100) would wait in silence.
 *
 * A connection whose health service answers NOT_SERVING, or does not answer, is used only if there is no better one: see {@link
 * Health}.
 */
export class Connections implements Owner {
  readonly credentials: Credentials;
  readonly backoff: FullJitter;
  readonly healthBackoff = new FullJitter(500, 30_000);

  readonly #resolver: Resolver;
  readonly #pool: Pool;
  readonly #readiness = new Condition();
  readonly #waiting = new Set<Waiting>();
  /** The last failure of the resolver or of a connection that could not be opened. */
  #failure = new Error("the name is not resolved yet");
  #isResolved = false;
  #state: "idle" | "running" | "closed" = "idle";
  #isSettling = false;
  #mustSettle = false;

  constructor(targets: readonly Target[], credentials: Credentials, backoff: FullJitter) {
    this.credentials = credentials;
    this.backoff = backoff;
    this.#pool = new Pool(this, () => this.#settle());
    this.#resolver = new Resolver(
      targets,
      (endpoints) => this.#setEndpoints(endpoints),
      (error) => this.#notResolved(error),
    );
  }

  /** Whether a connection can be used now. */
  get ready(): boolean {
    return this.#pool.health !== Health.pending;
  }

  /** Resolves to true when a connection can be used, and to false when the signal aborts. */
  whenReady(signal: AbortSignal): Promise<boolean> {
    return this.#readiness.until(() => this.ready, signal);
  }

  /** Why there is no connection. */
  get failure(): Error {
    return this.#failure;
  }

  /**
   * Chooses a connection with room for a call, of the best health over all addresses. If all connections of that health are full,
   * the call waits for a further connection to one of their addresses. The next health is tried only if no further connection can
   * be opened.
   */
  pick(options: PickOptions): Promise<Lease> {
    this.#start();
    const picked = this.#tryPick(options);
    if (picked instanceof Error) {
      return Promise.reject(picked);
    }
    return picked === undefined ? this.#wait(options) : Promise.resolve(picked);
  }

  #wait(options: PickOptions): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        ...options,
        resolve: (lease) => {
          undo();
          resolve(lease);
        },
        reject: (error) => {
          undo();
          reject(error);
        },
      };
      const undo = onAbort(options.signal, () => {
        this.#waiting.delete(waiting);
        reject(options.signal.reason as Error);
      });
      this.#waiting.add(waiting);
    });
  }

  /** Closes the connections. Calls that wait must be ended by their signals. */
  close(): void {
    this.#state = "closed";
    this.#resolver.close();
    this.#pool.close();
  }

  changed(): void {
    this.#readiness.notify();
    this.#settle();
  }

  failed(error: Error): void {
    this.#failure = error;
    this.#resolver.resolveSoon();
  }

  isEmpty(connection: Connection): void {
    this.#pool.retireLater(connection);
  }

  #start(): void {
    if (this.#state === "idle") {
      this.#state = "running";
      this.#resolver.start();
    }
  }

  #setEndpoints(endpoints: readonly Endpoint[]): void {
    this.#isResolved = true;
    this.#pool.setEndpoints(endpoints);
    this.changed();
  }

  /** It has an effect only while there is no address: earlier addresses can still be right. */
  #notResolved(error: Error): void {
    if (this.#pool.isEmpty) {
      this.#isResolved = true;
      this.#failure = error;
      this.changed();
    }
  }

  /** Lets the calls that wait pick again. A pick can open a connection, which can fail at once and call this again. */
  #settle(): void {
    this.#mustSettle = true;
    if (this.#isSettling) {
      return;
    }
    this.#isSettling = true;
    while (this.#mustSettle) {
      this.#mustSettle = false;
      for (const call of [...this.#waiting]) {
        const picked = this.#tryPick(call);
        if (picked === undefined) {
          continue;
        }
        this.#waiting.delete(call);
        if (picked instanceof Error) {
          call.reject(picked);
        } else {
          call.resolve(picked);
        }
      }
    }
    this.#isSettling = false;
  }

  /** Returns a lease, an error if a call that fails fast cannot have one now, or undefined if the call waits. */
  #tryPick({ isStream, failFast }: PickOptions): Lease | Error | undefined {
    const best = this.#pool.health;
    if (best === Health.pending) {
      if (!isStream) {
        this.#connectNow();
      }
      return failFast && !this.#isConnecting ? unavailable("no connection", this.#failure) : undefined;
    }
    for (const health of [Health.serving, Health.unknown, Health.notServing]) {
      if (health > best) {
        continue;
      }
      const lease = this.#pool.take(health, isStream);
      if (lease !== undefined) {
        return lease;
      }
      if (this.#pool.grow(health, isStream)) {
        return undefined;
      }
    }
    return failFast ? unavailable("all connections are full, and a further connection cannot be opened", this.#failure) : undefined;
  }

  get #isConnecting(): boolean {
    return !this.#isResolved || this.#pool.all().some((connection) => connection.state !== "failing");
  }

  /**
   * Starts the attempts that a lost connection delays, for a unary call that waits. A proxy can close a connection after a number
   * of calls (nginx: 1,000), and a busy caller would wait each time. Watches do not start the attempts: all of them lost their
   * streams at the same moment.
   */
  #connectNow(): void {
    for (const connection of this.#pool.all()) {
      connection.connectNow();
    }
  }
}

function unavailable(what: string, cause: Error): UnavailableError {
  return new UnavailableError({ code: "UNAVAILABLE", message: `${what}: ${cause.message}`, cause });
}
