import { Connection, type Owner } from "./connection.js";
import { Health } from "./health.js";
import type { Endpoint } from "./target.js";

/** The time without a call after which a further connection is closed, in milliseconds. */
const linger = 60_000;

/** Lease is a connection for one call. */
export interface Lease {
  readonly connection: Connection;
  /** The server has sent something for the call. Calling it again has no effect. */
  answered(): void;
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

/** Pool has the connections to all addresses, and as many to each address as its calls need. */
export class Pool {
  readonly #owner: Owner;
  readonly #released: () => void;
  #addresses: Address[] = [];
  /** Where the round robin continues. */
  #next = 0;

  /** The owner is told of changes, and released is called when a call has ended. */
  constructor(owner: Owner, released: () => void) {
    this.#owner = owner;
    this.#released = released;
  }

  /** Opens connections to new addresses, and closes those to addresses that are gone. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    const before = this.#addresses;
    const added: Address[] = [];
    this.#addresses = [];
    for (const endpoint of endpoints) {
      const isSame = (address: Address): boolean =>
        address.endpoint.target === endpoint.target && address.endpoint.authority === endpoint.authority;
      if (this.#addresses.some(isSame)) {
        continue;
      }
      let address = before.find(isSame);
      if (address === undefined) {
        address = { endpoint, connections: [], needed: -Infinity };
        added.push(address);
      }
      this.#addresses.push(address);
    }
    for (const gone of before.filter((address) => !this.#addresses.includes(address))) {
      close(gone.connections);
    }
    for (const address of added) {
      this.#open(address);
    }
    if (before.length === 0) {
      this.#next = Math.floor(Math.random() * this.#addresses.length);
    }
  }

  /** Closes all connections for new calls. */
  close(): void {
    close(this.all());
    this.#addresses = [];
  }

  get isEmpty(): boolean {
    return this.#addresses.length === 0;
  }

  all(): Connection[] {
    return this.#addresses.flatMap((address) => address.connections);
  }

  /** Returns the best health of all addresses. */
  get health(): Health {
    return best(this.#addresses.map(healthOf));
  }

  /** Takes a connection of this health with room, from the next address that has one. */
  take(health: Health, isStream: boolean): Lease | undefined {
    for (let i = 0; i < this.#addresses.length; i++) {
      this.#next = (this.#next + 1) % this.#addresses.length;
      const address = this.#addresses[this.#next];
      const connection = address && roomAt(address, isStream);
      if (connection?.health === health) {
        return this.#lease(connection);
      }
    }
    return undefined;
  }

  /**
   * Opens a further connection to an address of this health, unless one is connecting already. It returns whether one is
   * connecting. Of several full addresses it chooses the one with the fewest connections. It skips an address with a connection
   * that failed, which is opened again by itself.
   */
  grow(health: Health, isStream: boolean): boolean {
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

  /**
   * Closes a connection after it has had no call for a minute (linger), unless it is the only one of its address. A connection that
   * is not usable stays while calls need it. A usable one stays if its address has no other usable one.
   */
  retireLater(connection: Connection): void {
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
        this.retireLater(connection);
      } else if (connection.load.calls === 0 && address.connections.length > 1) {
        address.connections = address.connections.filter((other) => other !== connection);
        connection.close();
        this.#owner.changed();
      }
    }, linger).unref();
  }

  #open(address: Address): void {
    const connection = new Connection(address.endpoint, this.#owner);
    address.connections.push(connection);
    this.retireLater(connection);
    connection.start();
  }

  #lease(connection: Connection): Lease {
    clearTimeout(connection.retiring);
    connection.retiring = undefined;
    const taken = connection.load;
    taken.calls++;
    let isReleased = false;
    const release = (): void => {
      if (isReleased) {
        return;
      }
      isReleased = true;
      taken.calls--;
      if (taken.calls === 0 && taken === connection.load) {
        this.retireLater(connection);
      }
      this.#released();
    };
    return { connection, answered: () => connection.answered(taken), release };
  }
}

function close(connections: readonly Connection[]): void {
  for (const connection of connections) {
    connection.close();
  }
}

/** Returns the best health of the address's connections. Behind a proxy, each can lead to another replica. */
function healthOf(address: Address): Health {
  return best(address.connections.map((connection) => (connection.usable ? connection.health : Health.pending)));
}

/** Returns the healthiest connection with room for a call. Of several it returns the first, so that those after it become empty. */
function roomAt(address: Address, isStream: boolean): Connection | undefined {
  let found: Connection | undefined;
  for (const connection of address.connections) {
    if (connection.hasRoom(isStream) && (found === undefined || connection.health > found.health)) {
      found = connection;
    }
  }
  return found;
}

function best(healths: readonly Health[]): Health {
  return healths.reduce<Health>((best, health) => (health > best ? health : best), Health.pending);
}
