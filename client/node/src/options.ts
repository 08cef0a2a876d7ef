import type { TlsOptions } from "./tls.js";

/**
 * TokenSource returns a bearer token that is valid now. Space around the token, such as the last line break of a file, is
 * removed. The signal aborts when the call no longer needs the token. The client calls the source for each call and for each
 * try of a watch, so the source should cache the token while it is valid. If the source throws, the call fails with an
 * {@link UnavailableError}, so that a watch resumes when the source works again.
 */
export type TokenSource = (signal: AbortSignal) => string | Promise<string>;

/** Backoff has the waits of a watch before it tries again. */
export interface Backoff {
  /** The first ceiling, in milliseconds. Default 500. */
  readonly base?: number;
  /** The highest ceiling, in milliseconds. Default 3,000. It is not less than `base`. */
  readonly max?: number;
}

/** ConnectOptions say how a client connects. Without any, it uses TLS with Node's certificate authorities and no token. */
export interface ConnectOptions {
  /**
   * Connects without TLS, for a server on the same machine or in a service mesh that encrypts. Together with `token` the client
   * connects to loopback addresses and Unix sockets only.
   */
  readonly plaintext?: boolean;
  /** The certificates of TLS. It contradicts `plaintext`. */
  readonly tls?: TlsOptions;
  /**
   * Sends a token with each call, as `authorization: Bearer <token>`. The client never sends a token to another machine in
   * plain text. See {@link CallOptions.token} for calls with another token.
   */
  readonly token?: string | TokenSource;
  /**
   * The waits of a watch before it tries again. Each wait is random between 0 and a ceiling. The ceiling begins with `base`
   * and doubles with each failure in a row, up to `max`. If the server asks for a wait, the watch waits for that time first.
   *
   * The client connects again at a random moment within `base` after a connection is lost, or at once if a unary call needs the
   * connection. If a connection is lost within a second and before it has answered a call, the client waits as a watch does, even
   * if a unary call needs the connection. All watches that wait for a connection resume within `base` after it is back. Set
   * greater values for more than 1,000 clients of one server.
   */
  readonly backoff?: Backoff;
}

/** CallOptions are the options of every call. */
export interface CallOptions {
  /** Ends the call. The call then rejects with the signal's reason, as `fetch` does. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The longest time of a unary call, in milliseconds. Without it, a call waits at most 10 s for a connection, and at most 10 s
   * in all (`retry` and `compare`: 30 s). A watch and `consume` have no limit of time.
   */
  readonly timeout?: number | undefined;
  /**
   * Sends this token in place of that of {@link ConnectOptions.token}. A program that acts for people uses it to send the
   * person's own token, so that the service's history and log name the person.
   *
   * A call with an empty token, or one that cannot be a header's value, fails with an {@link UnauthenticatedError}: it never
   * sends the token of {@link ConnectOptions.token} instead. So does a call in plain text, unless the client has a token of its
   * own and therefore connects to loopback addresses only.
   */
  readonly token?: string | undefined;
}

/** StatusOptions are the options of `status`, `history` and `person`. */
export interface StatusOptions extends CallOptions {
  /**
   * Asks for an answer that has at least this revision of the session, so that a caller never reads backwards. The call waits up
   * to two seconds for it. It fails with a {@link RevisionLostError} if the service never reaches it.
   */
  readonly minRevision?: number | undefined;
  /**
   * The connected account of the session (`acct_...`). The service needs it to read a session at Stripe that it has not seen yet.
   * If the service knows the session, it must be the account of the session: the call fails with a {@link NotFoundError}
   * otherwise. It does not go with a reference: such a call fails with an {@link InvalidRequestError}.
   */
  readonly account?: string | undefined;
}

/** RetryOptions are the options of `retry`. */
export interface RetryOptions extends CallOptions {
  /**
   * Creates a new session like the old one if the old one is canceled. The hosted page of the new session sends the person to
   * `returnUrl` at the end.
   */
  readonly replaceClosed?: boolean | undefined;
  /** The address to which Stripe's hosted page sends the person at the end. It is used for a new session only. */
  readonly returnUrl?: string | undefined;
  /**
   * Also returns an ephemeral key, with which one of Stripe's mobile libraries continues the session. It is the API version that
   * the library names, such as `2026-09-30.endive`.
   */
  readonly ephemeralKeyVersion?: string | undefined;
  /** See {@link StatusOptions.account}. */
  readonly account?: string | undefined;
}

/** OperatorOptions are the options of an operator's calls. */
export interface OperatorOptions extends CallOptions {
  /**
   * The outcomeRevision of the session that the operator saw. If the session has another outcome by now, the call changes nothing
   * and fails with an {@link OutcomeChangedError}. 0 is no condition. Set it wherever a person decides. It guards against another
   * outcome only, not against another operator: the last resolution holds.
   */
  readonly seenOutcome?: number | undefined;
}
