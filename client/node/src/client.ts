import type { ConsumeOptions, Handler } from "./consume-options.js";
import type { FieldComparison } from "./gen/verification/v1/comparison_pb.js";
import type { Consumer } from "./gen/verification/v1/feed_pb.js";
import type { HistoryEntry, Person, ResolutionKind, Verification } from "./gen/verification/v1/verification_pb.js";
import type { ListOptions, ListQuery } from "./list-query.js";
import type { CallOptions, OperatorOptions, RetryOptions, StatusOptions } from "./options.js";
import type { Secret } from "./secret.js";
import type { Subject } from "./subject.js";
import type { Bookmark, Update } from "./update.js";
import type { WatchAllOptions, WatchOptions } from "./watch-options.js";

/** Link lets a person continue a verification. */
export interface Link {
  /** The session to continue with. It is a new session if the old one was replaced. */
  readonly verification: Verification;
  /** For Stripe.js. It works once and expires after 24 hours. */
  readonly clientSecret: Secret;
  /** The address of Stripe's hosted page. It works once and expires after 48 hours. */
  readonly url: Secret;
  /** For Stripe's mobile libraries. It expires after an hour. It is empty without `ephemeralKeyVersion`. */
  readonly ephemeralKeySecret: Secret;
}

/**
 * Expected is what the caller expects of a verified person. `compare` compares the fields that are set and not empty. The object is
 * the caller's: do not log it.
 */
export interface Expected {
  /** The given name or names. */
  readonly firstName?: string | undefined;
  /** The family name. */
  readonly lastName?: string | undefined;
  /** The date of birth, in the form `YYYY-MM-DD`. */
  readonly dateOfBirth?: string | undefined;
  /** The postal code of the address. */
  readonly postalCode?: string | undefined;
  /** The country of the address, by ISO 3166-1 alpha-2, such as `NL`. */
  readonly country?: string | undefined;
  /** The id number, whole or its last four characters. */
  readonly idNumber?: string | undefined;
  /** The e-mail address. */
  readonly email?: string | undefined;
  /** The telephone number in E.164, such as `+31201234567`. */
  readonly phone?: string | undefined;
}

/** Operator has the calls of support staff. They need the right override. */
export interface Operator {
  /**
   * Gives the person of a session (`vs_...`) one more try, although the limit is reached, another try cannot fix the failure, or it
   * is too early. If the session is canceled, the try is for its replacement. It resolves to the session. It changes nothing if a
   * retry is allowed already; otherwise `retry.overrideOpen` of the session is set. The session's history names the caller.
   *
   * It rejects with a {@link RetryDeniedError} if a retry is denied for a reason that an operator cannot lift, with an {@link
   * OutcomeChangedError}, and with a {@link NotFoundError} if the service does not know the session. It does not ask Stripe.
   */
  allowRetry(sessionId: string, options?: OperatorOptions): Promise<Verification>;
  /**
   * Notes how an operator dealt with the person of a session elsewhere. `ResolutionKind.UNSPECIFIED` revokes an earlier resolution.
   * A resolved session counts as settled, gets no retry, and leaves the lists by denial; its status stays as it is. It resolves to
   * the session. The session's history names the caller.
   *
   * It rejects with an {@link OutcomeChangedError}, and with a {@link NotFoundError} if the service does not know the session.
   */
  resolve(sessionId: string, kind: ResolutionKind, options?: OperatorOptions): Promise<Verification>;
}

/**
 * Client calls one verification-status, at any number of addresses. Make one with `connect`. One client is enough for a
 * program. It spreads its calls over all addresses, and opens a further connection to an address when the others carry as many
 * streams as the server or proxy allows. It prefers servers that report themselves as serving.
 *
 * Each call rejects with a {@link VerificationError}, or with the reason of its signal.
 */
export interface Client {
  /**
   * Resolves to the current status of a session, or of the newest session with a reference. It can be a second old; see
   * `minRevision`. While the service cannot be reached, the call waits.
   *
   * It rejects with a {@link NotFoundError} if there is no such session, and with a {@link RevisionLostError}.
   */
  status(subject: Subject, options?: StatusOptions): Promise<Verification>;
  /** Is `status`, and also returns the session's history: every input that reached it, the oldest first. */
  history(subject: Subject, options?: StatusOptions): Promise<{ verification: Verification; history: HistoryEntry[] }>;
  /**
   * Is `status` for a reference, and also returns a summary of the newest 100 sessions with it. A person that was verified once and
   * then began another session is found by `person.verified`. A field that is not set is unknown. The call costs the service more
   * than `status` does.
   */
  person(reference: string, options?: StatusOptions): Promise<{ verification: Verification; person: Person }>;
  /**
   * Yields the sessions that a query selects, the newest first: by updateTime (with `reference` by createTime), then by session id.
   *
   * The loop reads a page when it needs the first session of it, and keeps one page at a time. It reads a page again that fails
   * with an {@link UnavailableError} or a conflict, for 10 s or for `timeout`. A list is not a snapshot: a session that changes
   * meanwhile can come twice, or not at all if it moved to the front. A program that must miss no change uses `watchAll`. Each loop
   * over the result reads the list again.
   */
  list(query: ListQuery, options?: ListOptions): AsyncIterable<Verification>;
  /**
   * Yields the current status of a subject, then every later revision, in order, without a gap and without a repetition. If a
   * connection breaks, or a server stops or falls silent, the watch resumes by itself after the last handled update. An update
   * counts as handled when the loop asks for the next one.
   *
   * ```ts
   * for await (const { verification } of client.watch({ reference: "user-42" })) {
   *   console.log(Status[verification.status]);
   * }
   * ```
   *
   * The loop ends when its body leaves it, with the reason of `signal`, with a {@link ClosedError}, or with an error that another
   * try cannot fix: {@link NotFoundError}, {@link InvalidRequestError}, {@link ResumeTokenInvalidError}, {@link
   * UnauthenticatedError}, {@link PermissionDeniedError}, and the codes FAILED_PRECONDITION, ALREADY_EXISTS and UNIMPLEMENTED. Only
   * the service itself, or the very first answer, ends a watch with such an error. A proxy that has no route, refuses, or is broken
   * for a while interrupts the watch, and it resumes.
   *
   * If the service no longer has the changes that follow, the watch restarts with the current status and sets {@link Update.reset}.
   * A watch by reference can end with a NotFoundError when no session has the reference any more.
   *
   * Updates that the loop does not read stay at the server: the client holds a bounded number of them. Each loop over the result is
   * a new watch.
   */
  watch(subject: Subject, options?: WatchOptions & { readonly bookmarks?: false | undefined }): AsyncIterable<Update>;
  /** With `bookmarks`, the watch also yields a {@link Bookmark} at each heartbeat. */
  watch(subject: Subject, options?: WatchOptions): AsyncIterable<Update | Bookmark>;
  /**
   * Yields the changes of all sessions, for programs that react to outcomes. Changes of one session are in order. Each change comes
   * at least once; a repeated one has a revision that was already seen. The loop begins with the next change. A program that must
   * see every change stores the resume tokens, the first of them before any change (see `bookmarks`), and resumes from the last
   * one.
   *
   * It ends as `watch` does. It also ends with a {@link ResumeTokenExpiredError} if changes were lost to the caller: start again
   * without a token, and then ask for the sessions that matter with `status` or `list`, so that nothing falls in between.
   */
  watchAll(options?: WatchAllOptions & { readonly bookmarks?: false | undefined }): AsyncIterable<Update>;
  /** With `bookmarks`, the watch also yields a {@link Bookmark} at its start and at each heartbeat. */
  watchAll(options?: WatchAllOptions): AsyncIterable<Update | Bookmark>;
  /**
   * Waits until a subject is settled (verified, canceled, redacted or resolved) and resolves to it. By reference, a session that
   * was replaced by another one does not end the wait. It resumes as `watch` does, and rejects with the errors that end a watch.
   */
  waitSettled(subject: Subject, options?: WaitOptions): Promise<Verification>;
  /**
   * Lets the person of a session (`vs_...`) try again, within the limit of attempts, and resolves to a new link. Repeating the call
   * is safe: the service counts a retry once for each failure.
   *
   * It rejects with a {@link RetryDeniedError} if the service denies the retry, and with {@link NotFoundError}, {@link
   * StripeNotConfiguredError}, {@link StripeRefusedError} and {@link StripeSessionUnknownError}.
   */
  retry(sessionId: string, options?: RetryOptions): Promise<Link>;
  /**
   * Asks whether what Stripe verified in a session is what the caller expects. It resolves to a result for each field that is set,
   * in the order of the fields of {@link Expected}. No answer has a verified value. The session's history keeps the names of the
   * fields and the caller's name, never a value.
   *
   * The caller needs the right compare. Do not repeat the call blindly: each call counts against the limit of the session, also one
   * that fails after the service has begun it. It rejects with {@link ComparisonLimitError}, {@link NotComparableError}, {@link
   * InvalidRequestError}, and the errors of Stripe as `retry` does.
   */
  compare(sessionId: string, expected: Expected, options?: CallOptions): Promise<FieldComparison[]>;
  /** The calls of support staff. */
  readonly operator: Operator;
  /**
   * Calls a handler for the outcomes of all sessions, as the named consumer whose position the service keeps. A name has 1 to 64
   * characters of a-z, 0-9, `-`, `_` and `.`, and begins with a letter. The first stream of a name makes the consumer, which begins
   * with the next outcome. A later run continues after the changes that were acknowledged.
   *
   * `consume` acknowledges a change when the handler has succeeded for it and for all changes before it. So each outcome is handled
   * at least once. It can be handled again after a crash, or if two instances overlap for a moment. outcomeId makes it once in
   * effect: it is the same in each repetition.
   *
   * - Outcomes of one session are handled in order, those of different sessions side by side (see `workers`).
   * - If the handler throws, it is called again after a wait that grows from 1 s to 1 min (see `onFailure`), until it succeeds.
   *   Only the changes of the same session wait meanwhile. If a change can never be handled, log it and return.
   * - It holds at most 1,000 changes from the first one that is not handled on (see `maxHeld`).
   * - One instance of a name is served at a time. Others stand by, and one of them takes over when the first one ends.
   * - A server that is older than consumers is passed over.
   *
   * When `signal` aborts, `consume` starts no further handler and waits for those that run (see `drainWithin`). Their signal aborts
   * after that time, not with `signal`. Then it acknowledges the last changes, gives the consumer back, and **resolves**. It
   * rejects with the error of the last acknowledgement if that failed.
   *
   * It resumes as `watch` does, and rejects with the errors that end a watch, with {@link ClosedError}, {@link
   * TooManyConsumersError}, with {@link ConsumerNotFoundError} if the consumer was deleted or the store has lost it, and with
   * {@link ConsumerExpiredError} if changes that were not acknowledged are gone.
   */
  consume(name: string, handle: Handler, options?: ConsumeOptions): Promise<void>;
  /** Resolves to the named consumers, by name: how far each is behind, and whether a stream of it is open. */
  listConsumers(options?: CallOptions): Promise<Consumer[]>;
  /**
   * Deletes a named consumer with its position. Deleting a consumer that does not exist is no error. A `consume` of the name ends
   * with a {@link ConsumerNotFoundError}.
   */
  deleteConsumer(name: string, options?: CallOptions): Promise<void>;
  /**
   * Resolves if the service answers a call now, and rejects with the error of that call otherwise. It makes a call each time,
   * because a connection to a proxy can outlive the service behind it. Call it every few seconds, not in each request.
   */
  ready(options?: CallOptions): Promise<void>;
  /** Closes the connections and ends calls, watches, lists and `consume` with a {@link ClosedError}. Closing twice is no error. */
  close(): void;
  /** Is `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** WaitOptions are the options of `waitSettled`. */
export type WaitOptions = Omit<WatchOptions, "untilSettled" | "resumeFrom" | "bookmarks">;
