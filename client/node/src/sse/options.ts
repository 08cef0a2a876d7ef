import type { Client } from "../client.js";
import type { Subject } from "../subject.js";
import type { Logger } from "./logger.js";

/** RequestLike is what the bridge reads of a request: a `Request` of the Fetch standard, or an `IncomingMessage` of Node. */
export interface RequestLike {
  readonly method?: string | undefined;
  readonly headers: { get(name: string): string | null } | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Ends the stream, if the framework aborts it when the browser leaves. Cancelling the body of the response ends it too. */
  readonly signal?: AbortSignal | undefined;
}

/** Viewer is a signed-in user and what they may watch. */
export interface Viewer {
  /** Identifies the user for the limits. It is not logged. */
  readonly user: string;
  /**
   * The address of the browser, for `maxStreamsPerAddress`. If it is not set, for example because a proxy hides it, that limit does not
   * apply.
   */
  readonly address?: string | undefined;
  /**
   * What the user watches. Not set for a user that has no session yet: the stream has "unknown", and "live" or "stale". All such users
   * share one call to the service in 5 s, which reads nothing.
   */
  readonly subject?: Subject | undefined;
  /** Aborts when the user's sign-in ends: the user signs out, or it expires. The stream ends with it. */
  readonly session?: AbortSignal | undefined;
}

/** EventStreamsOptions say what {@link eventStreams} streams, and to whom. */
export interface EventStreamsOptions<R extends RequestLike> {
  /** Makes the watches. */
  readonly client: Pick<Client, "watch" | "ready">;
  /**
   * Returns the user of a request and what they may watch, for example by a session cookie; never by what the browser asks for. It is
   * called again at each reconnect.
   *
   * With "not_signed_in" (the answer is 401) and "forbidden" (403) the browser does not return. If the function throws, the error is
   * logged, and the browser returns in a few seconds.
   */
  readonly authorize: (request: R) => Authorized | Promise<Authorized>;
  /**
   * How many streams one user can have open in this process. Default 8. A further stream displaces the user's oldest one. Over HTTP/1.1
   * a browser opens at most 6 connections for all tabs together: serve HTTP/2, or let a proxy in front do it.
   */
  readonly maxStreams?: number | undefined;
  /**
   * How many streams one `address` can have open. Default 250, for an office or a mobile network behind one address. A further stream
   * displaces the oldest one of the user with the most streams at the address.
   */
  readonly maxStreamsPerAddress?: number | undefined;
  /**
   * How many streams all users together can have open. Default 5,000, which is the share of a named caller by the service's default
   * settings. A further stream displaces the oldest one of the user with the most streams. Streams without a subject are short and
   * count for no limit.
   */
  readonly maxStreamsTotal?: number | undefined;
  /** Ends all streams. Abort it when the program stops: a server waits for open streams and does not end them. */
  readonly signal?: AbortSignal | undefined;
  /** Gets the faults of this program and of the service, and a line for each outage of the service. Default `console`. An error that it throws is dropped. */
  readonly logger?: Logger | undefined;
}

/** Authorized is what `authorize` returns. */
export type Authorized = Viewer | "not_signed_in" | "forbidden";

/** Times are the durations of the bridge in milliseconds. Tests shorten them. */
export interface Times {
  /**
   * The interval of "live" and "stale": the service's shortest heartbeat. A page must notice within 20 s that its data is stale, and
   * does so after three missed events.
   */
  readonly live: number;
  /** How long a browser can read nothing. */
  readonly write: number;
  /**
   * The maximum age of a stream, less a random part of up to a fifth. It ends the streams of phones that are gone while the connection
   * stays open. A browser that is still there reconnects by itself.
   */
  readonly age: number;
  /** How long the check whether the service answers can take. */
  readonly reach: number;
}

/** The durations of a program. */
export const defaultTimes: Times = { live: 5_000, write: 10_000, age: 300_000, reach: 5_000 };
