import { Client, connectivityState as State } from "@grpc/grpc-js";
import type { ChannelInterface, ChannelOptions, ServiceError } from "@grpc/grpc-js";

import type { FullJitter } from "./backoff.js";
import type { Credentials } from "./credentials.js";
import { readable } from "./error-from.js";
import { Health, watchHealth } from "./health.js";
import { Load } from "./load.js";
import { announcedStreams, room } from "./stream-limit.js";
import type { Endpoint } from "./target.js";

/** The longest attempt to connect to one address, in milliseconds. */
const connectTimeout = 5000;

/** The longest wait for the first answer of the health service, in milliseconds. */
const healthTimeout = 1000;

/**
 * gRPC notices a lost peer after both together, in milliseconds. The service allows a ping every 5 s; other servers and proxies
 * often allow fewer.
 */
const pingAfter = 30_000;
const pingTimeout = 10_000;

const maxMessageBytes = 4 << 20;

/** Owner is what a connection tells, and asks. */
export interface Owner {
  readonly credentials: Credentials;
  readonly backoff: FullJitter;
  readonly healthBackoff: FullJitter;
  /** The connection has another state or health. */
  changed(): void;
  /** It was lost, or an attempt failed: the addresses can be old. */
  failed(error: Error): void;
  /** It has no calls. */
  isEmpty(connection: Connection): void;
}

/**
 * Connection is one connection to an address. If it is lost, it is opened again. Each attempt has a gRPC channel of its own, with
 * one address: so a renewed certificate is read, and a call can choose its connection, which grpc-js itself does not offer.
 */
export class Connection {
  readonly endpoint: Endpoint;
  readonly #owner: Owner;

  /** "failing" stays until the connection is ready, also during further attempts. */
  state: "connecting" | "ready" | "failing" = "connecting";
  health: Health = Health.pending;
  load = new Load();
  /** Of the pool, which closes a connection that has not been used for a while. */
  retiring: NodeJS.Timeout | undefined;

  #client: Client | undefined;
  #announced: number | undefined;
  #failures = 0;
  /** Connections in a row that were lost before they were of use. */
  #lostAtOnce = 0;
  /** Of the connection that this one replaces. */
  #last: Load | undefined;
  #healthFailures = 0;
  #endHealth = (): void => {};
  /** Of the attempt, of the wait before the next one, or of the health service. */
  #timer: NodeJS.Timeout | undefined;
  /** Whether the timer is that of a connection that was lost. */
  #isDelayed = false;
  #closed = false;

  constructor(endpoint: Endpoint, owner: Owner) {
    this.endpoint = endpoint;
    this.#owner = owner;
  }

  /** Begins to connect. */
  start(): void {
    this.#open();
  }

  /** Whether calls can use it. */
  get usable(): boolean {
    return this.state === "ready" && this.health !== Health.pending;
  }

  /** Returns whether a further call has room on it. */
  hasRoom(isStream: boolean): boolean {
    if (!this.usable) {
      return false;
    }
    return this.load.calls < room(this.#streams(), isStream);
  }

  /** The client of a connection that is usable. */
  get client(): Client {
    if (this.#client === undefined) {
      throw new Error("the connection is not usable");
    }
    return this.#client;
  }

  /** Connects at once if a connection that was of use was lost and waits for its random moment. */
  connectNow(): void {
    if (this.#isDelayed && this.#lostAtOnce === 0) {
      this.#open();
    }
  }

  /** The server has sent something for a call with this load. If the connection is lost already, its loss was no failure. */
  answered(load: Load): void {
    load.answered = true;
    if (load === this.#last && this.#lostAtOnce > 0) {
      this.#lostAtOnce = 0;
      this.#owner.changed();
    }
  }

  /** Closes the connection for new calls. Calls under way can end. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.retiring);
    this.#drop();
  }

  #streams(): number {
    this.#announced ??= announcedStreams(this.client.getChannel());
    return this.#announced;
  }

  #open(): void {
    clearTimeout(this.#timer);
    this.#isDelayed = false;
    const { credentials } = this.#owner;
    try {
      this.#client = new Client(
        this.endpoint.target,
        credentials.forConnection(this.endpoint),
        options(this.endpoint, credentials),
      );
    } catch (error) {
      this.#attemptFailed(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#announced = undefined;
    this.#timer = setTimeout(() => this.#attemptFailed(`no connection within ${connectTimeout / 1000} s`), connectTimeout).unref();
    this.#follow(this.#client.getChannel(), State.IDLE);
    this.#askHealth(this.#client);
  }

  /** Follows the state of a channel until it is closed. */
  #follow(channel: ChannelInterface, last: State): void {
    channel.watchConnectivityState(last, Infinity, () => {
      if (channel !== this.#client?.getChannel()) {
        return; // it was closed
      }
      const state = channel.getConnectivityState(false);
      if (state === State.READY) {
        this.#ready();
      } else if (this.state === "ready") {
        this.#lost();
        return;
      }
      this.#follow(channel, state);
    });
  }

  #ready(): void {
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#healthFailures = 0;
    this.state = "ready";
    this.health = Health.pending;
    this.load = new Load();
    this.#timer = setTimeout(() => {
      if (this.#streams() < 2) {
        this.#endHealth(); // it takes the only stream
      }
      this.#setHealth(Health.unknown);
    }, healthTimeout).unref();
    this.#owner.isEmpty(this);
    this.#owner.changed();
  }

  /**
   * Opens a lost connection again after a wait. A proxy that stops or has no server can accept each connection and end it at once:
   * the loss of a connection that was of no use is a failure.
   */
  #lost(): void {
    clearTimeout(this.#timer);
    this.#drop();
    this.#last = this.load;
    const isFailure = !this.load.isProven;
    this.#lostAtOnce = isFailure ? this.#lostAtOnce + 1 : 0;
    this.state = isFailure ? "failing" : "connecting";
    this.load = new Load();
    this.#owner.isEmpty(this);
    this.#isDelayed = true;
    this.#timer = setTimeout(() => this.#open(), this.#owner.backoff.random(Math.max(this.#lostAtOnce, 1))).unref();
    const reason = isFailure ? "the server or proxy ends each connection before a call is answered" : "the connection was lost";
    this.#owner.failed(new Error(`${this.endpoint.target}: ${reason}`));
    this.#owner.changed();
  }

  #attemptFailed(reason: string): void {
    clearTimeout(this.#timer);
    this.#drop();
    this.state = "failing";
    this.#failures++;
    this.#timer = setTimeout(() => this.#open(), this.#owner.backoff.late(this.#failures)).unref();
    this.#owner.failed(new Error(`${this.endpoint.target}: ${readable(reason)}`));
    this.#owner.changed();
  }

  /** Closes the channel, and keeps what follows it from being heard. */
  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#endHealth();
    client?.close();
  }

  /** Asks the health service until the connection is lost. The first call makes gRPC connect, and has the error if it cannot. */
  #askHealth(client: Client): void {
    this.#endHealth = watchHealth(
      client,
      (health) => {
        this.#healthFailures = 0;
        this.#setHealth(health);
        if (this.#streams() < 2) {
          this.#endHealth(); // it would take the only stream
          this.#setHealth(Health.unknown);
        }
      },
      (error) => {
        if (this.state !== "ready" || client !== this.#client) {
          this.#attemptFailed(connectError(error));
          return;
        }
        this.#setHealth(Health.unknown);
        this.#healthFailures++;
        this.#timer = setTimeout(() => this.#askHealth(client), this.#owner.healthBackoff.random(this.#healthFailures)).unref();
      },
    );
  }

  #setHealth(health: Health): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.state !== "ready" || this.health === health) {
      return;
    }
    this.health = health;
    this.#owner.changed();
  }
}

/** Returns why gRPC could not connect. Its text has the reason between two others. */
function connectError(error: ServiceError | undefined): string {
  const text = error?.details ?? "the connection ended";
  const reason = /Last error: (?:Error: )?(.*?)(?: \(\d{4}-[^)]*\))?(?:\.? ?Resolution note: .*)?$/s.exec(text)?.[1];
  return reason || text;
}

function options(endpoint: Endpoint, credentials: Credentials): ChannelOptions {
  const serverName = credentials.serverName || endpoint.serverName;
  return {
    "grpc.default_authority": endpoint.authority,
    ...(serverName === "" ? {} : { "grpc.ssl_target_name_override": serverName }),
    "grpc.primary_user_agent": "verification-status-client",
    "grpc.keepalive_time_ms": pingAfter,
    "grpc.keepalive_timeout_ms": pingTimeout,
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.use_local_subchannel_pool": 1, // otherwise two connections to one address would be one
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0, // calls try again by themselves, over another connection
    "grpc.enable_channelz": 0,
    "grpc.client_idle_timeout_ms": 2 ** 31 - 1,
  };
}
