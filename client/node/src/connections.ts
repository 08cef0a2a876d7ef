import { onAbort } from "./abort.js";
import { FullJitter } from "./backoff.js";
import { Connection } from "./connection.js";
import type { Load, Owner } from "./connection.js";
import type { Credentials } from "./credentials.js";
import { UnavailableError } from "./errors.js";
import { Health } from "./health.js";
import { Resolver } from "./resolver.js";
import type { Endpoint, Target } from "./target.js";

/** The time without a call after which a further connection is closed, in milliseconds. */
const linger = 60_000;

/** PickOptions say for which call a connection is chosen. */
export interface PickOptions {
  /** Whether the call is a watch. */
  readonly isStream: boolean;
  /** Whether the call fails if there is no connection and none is being opened. Otherwise it waits. */
  readonly failFast: boolean;
  /** Ends the wait. The pick rejects with its reason. */
  readonly signal: AbortSignal;
}

/** Lease is a connection for one call. */
export interface Lease {
  readonly connection: Connection;
  /** Ends the call's use of the connection. Calling it again has no effect. */
  release(): void;
}

interface Address {
  readonly endpoint: Endpoint;
  /** At least one. */
  connections: Connection[];
  /** When all connections were last full at a call, by performance.now. */
  needed: number;
}

interface Waiting extends PickOptions {
  resolve(lease: Lease): void;
  reject(error: Error): void;
}

/**
 * Connections choose a connection for each call: round robin over the addresses, with as many connections to each address as its calls
 * need. gRPC's own balancers have one connection for each address. A call beyond the number of streams that the server or proxy allows on
 * it (nginx 128, HAProxy 100) would wait in silence.
 *
 * A connection whose health service answers NOT_SERVING, or does not answer, is used only if there is no better one: see {@link Health}.
 */
export class Connections implements Owner {
  readonly credentials: Credentials;
  readonly backoff: FullJitter;
  readonly healthBackoff = new FullJitter(500, 30_000);

  readonly #resolver: Resolver;
  #addresses: Address[] = [];
  /** Where the round robin continues. */
  #next = 0;
  #waiting: Waiting[] = [];
  /** The last failure of the resolver or of a connection that could not be opened. */
  #failure = new Error("the name is not resolved yet");
  #resolved = false;
  #listeners = new Set<() => void>();
  #state: "idle" | "running" | "closed" = "idle";
  #isSettling = false;
  #mustSettle = false;

  constructor(targets: readonly Target[], credentials: Credentials, backoff: FullJitter) {
    this.credentials = credentials;
    this.backoff = backoff;
    this.#resolver = new Resolver(
      targets,
      (endpoints) => this.#setEndpoints(endpoints),
      (error) => this.#notResolved(error),
    );
  }

  /** Whether a connection can be used now. */
  get ready(): boolean {
    return this.#addresses.some((address) => address.connections.some((connection) => connection.usable));
  }

  /** Resolves to true when a connection can be used, and to false when the signal aborts. */
  whenReady(signal: AbortSignal): Promise<boolean> {
    if (this.ready || signal.aborted) {
      return Promise.resolve(!signal.aborted);
    }
    return new Promise((resolve) => {
      const finish = (ready: boolean): void => {
        undo();
        this.#listeners.delete(listener);
        resolve(ready);
      };
      const listener = (): void => {
        if (this.ready) {
          finish(true);
        }
      };
      const undo = onAbort(signal, () => finish(false));
      this.#listeners.add(listener);
    });
  }

  /** Why there is no connection. */
  get failure(): Error {
    return this.#failure;
  }

  /**
   * Chooses a connection with room for a call, of the best health over all addresses. If all connections of that health are full, the call
   * waits for a further connection to one of their addresses. The next health is tried only if no further connection can be opened.
   */
  pick(options: PickOptions): Promise<Lease> {
    this.#start();
    const picked = this.#tryPick(options);
    if (picked instanceof Error && options.failFast) {
      return Promise.reject(picked);
    }
    if (picked !== undefined && !(picked instanceof Error)) {
      return Promise.resolve(picked);
    }
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
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(options.signal.reason as Error);
      });
      this.#waiting.push(waiting);
    });
  }

  /** Closes the connections. Calls that wait must be ended by their signals. */
  close(): void {
    this.#state = "closed";
    this.#resolver.close();
    for (const connection of this.#all()) {
      connection.close();
    }
    this.#addresses = [];
  }

  changed(): void {
    for (const listener of [...this.#listeners]) {
      listener();
    }
    this.#settle();
  }

  failed(error: Error): void {
    this.#failure = error;
    this.#resolver.resolveSoon();
  }

  /**
   * Closes a connection after it has had no call for a minute (linger), unless it is the only one of its address. A connection that is not
   * usable stays while calls need it. A usable one stays if its address has no other usable one.
   */
  isEmpty(connection: Connection): void {
    const address = this.#addresses.find((address) => address.connections.includes(connection));
    if (address === undefined || address.connections.length === 1 || connection.retiring !== undefined) {
      return;
    }
    connection.retiring = setTimeout(() => {
      connection.retiring = undefined;
      const isSpare = connection.usable
        ? address.connections.some((other) => other !== connection && other.usable)
        : performance.now() - address.needed >= linger;
      if (!isSpare) {
        this.isEmpty(connection);
        return;
      }
      if (connection.load.calls > 0 || address.connections.length === 1) {
        return;
      }
      address.connections = address.connections.filter((other) => other !== connection);
      connection.close();
      this.changed();
    }, linger).unref();
  }

  #start(): void {
    if (this.#state === "idle") {
      this.#state = "running";
      this.#resolver.start();
    }
  }

  #setEndpoints(endpoints: readonly Endpoint[]): void {
    if (this.#state === "closed") {
      return;
    }
    this.#resolved = true;
    const before = this.#addresses;
    const same = (a: Endpoint, b: Endpoint): boolean => a.target === b.target && a.authority === b.authority;
    this.#addresses = [];
    const added: Address[] = [];
    for (const endpoint of endpoints) {
      if (this.#addresses.some((address) => same(address.endpoint, endpoint))) {
        continue;
      }
      const known = before.find((address) => same(address.endpoint, endpoint));
      const address = known ?? { endpoint, connections: [], needed: -Infinity };
      this.#addresses.push(address);
      if (known === undefined) {
        added.push(address);
      }
    }
    for (const gone of before.filter((address) => !this.#addresses.includes(address))) {
      for (const connection of gone.connections) {
        connection.close();
      }
    }
    for (const address of added) {
      this.#open(address);
    }
    if (before.length === 0) {
      this.#next = Math.floor(Math.random() * this.#addresses.length);
    }
    this.changed();
  }

  /** It has an effect only while there is no address: earlier addresses can still be right. */
  #notResolved(error: Error): void {
    if (this.#addresses.length === 0) {
      this.#resolved = true;
      this.#failure = error;
      this.changed();
    }
  }

  #open(address: Address): void {
    const connection = new Connection(address.endpoint, this);
    address.connections.push(connection);
    this.isEmpty(connection);
    connection.start();
  }

  #all(): Connection[] {
    return this.#addresses.flatMap((address) => address.connections);
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
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const call of waiting) {
        const picked = this.#tryPick(call);
        if (picked === undefined || (picked instanceof Error && !call.failFast)) {
          this.#waiting.push(call);
        } else if (picked instanceof Error) {
          call.reject(picked);
        } else {
          call.resolve(picked);
        }
      }
    }
    this.#isSettling = false;
  }

  /** Returns a lease, an error if the call cannot have one now, or undefined if a connection is being opened. */
  #tryPick({ isStream, failFast }: PickOptions): Lease | Error | undefined {
    const best = this.#addresses.reduce<Health>((best, address) => max(best, healthOf(address)), Health.pending);
    if (best === Health.pending) {
      if (!isStream) {
        this.#connectNow();
      }
      return this.#noConnection(failFast);
    }
    for (const health of [Health.serving, Health.unknown, Health.notServing]) {
      if (health > best) {
        continue;
      }
      const connection = this.#withRoom(health, isStream);
      if (connection !== undefined) {
        return this.#take(connection);
      }
      if (this.#grow(health, isStream)) {
        return undefined;
      }
    }
    return unavailable(`all connections are full, and a further connection cannot be opened: ${this.#failure.message}`, this.#failure);
  }

  #noConnection(failFast: boolean): Error | undefined {
    const connecting = !this.#resolved || this.#all().some((connection) => connection.state !== "failing");
    return connecting || !failFast ? undefined : unavailable(`no connection: ${this.#failure.message}`, this.#failure);
  }

  /**
   * Starts the attempts that a lost connection delays, for a unary call that waits. A proxy can close a connection after a number of calls
   * (nginx: 1,000), and a busy caller would wait each time. Watches do not start the attempts: all of them lost their streams at the same
   * moment.
   */
  #connectNow(): void {
    for (const connection of this.#all()) {
      connection.connectNow();
    }
  }

  /** Returns a connection of this health with room, from the next address that has one. */
  #withRoom(health: Health, isStream: boolean): Connection | undefined {
    for (let i = 0; i < this.#addresses.length; i++) {
      this.#next = (this.#next + 1) % this.#addresses.length;
      const address = this.#addresses[this.#next];
      const connection = address && roomAt(address, isStream);
      if (connection?.health === health) {
        return connection;
      }
    }
    return undefined;
  }

  /**
   * Opens a further connection to an address of this health, unless one is connecting already. It returns whether one is connecting. Of
   * several full addresses it chooses the one with the fewest connections. It skips an address with a connection that failed, which is
   * opened again by itself.
   */
  #grow(health: Health, isStream: boolean): boolean {
    let fewest: Address | undefined;
    for (const address of this.#addresses) {
      if (healthOf(address) !== health || roomAt(address, isStream) !== undefined) {
        continue;
      }
      address.needed = performance.now();
      if (address.connections.some((connection) => !connection.usable && connection.state !== "failing")) {
        return true;
      }
      const fails = address.connections.some((connection) => connection.state === "failing");
      if (!fails && (fewest === undefined || address.connections.length < fewest.connections.length)) {
        fewest = address;
      }
    }
    if (fewest === undefined) {
      return false;
    }
    this.#open(fewest);
    return true;
  }

  #take(connection: Connection): Lease {
    clearTimeout(connection.retiring);
    connection.retiring = undefined;
    const taken: Load = connection.load;
    taken.calls++;
    let released = false;
    return {
      connection,
      release: () => {
        if (released) {
          return;
        }
        released = true;
        taken.calls--;
        if (taken.calls === 0 && taken === connection.load) {
          this.isEmpty(connection);
        }
        if (this.#waiting.length > 0) {
          this.#settle();
        }
      },
    };
  }
}

/** Returns the best health of the address's connections. Behind a proxy, each can lead to another replica. */
function healthOf(address: Address): Health {
  return address.connections.reduce<Health>((best, connection) => (connection.usable ? max(best, connection.health) : best), Health.pending);
}

/**
 * Returns the healthiest connection with room for a call. Of several it returns the first, so that those after it become empty.
 */
function roomAt(address: Address, isStream: boolean): Connection | undefined {
  let found: Connection | undefined;
  for (const connection of address.connections) {
    if (connection.hasRoom(isStream) && (found === undefined || connection.health > found.health)) {
      found = connection;
    }
  }
  return found;
}

function max(a: Health, b: Health): Health {
  return a > b ? a : b;
}

function unavailable(message: string, cause: Error): UnavailableError {
  return new UnavailableError({ code: "UNAVAILABLE", message, cause });
}

