import type { Status } from "./gen/verification/v1/verification_pb.js";
import type { Bookmark, Update } from "./update.js";
import type { StreamOptions } from "./watch-options.js";

/** HandlerContext is the second argument of a {@link Handler}. */
export interface HandlerContext {
  /**
   * Aborts when another instance has taken over the consumer, when its position was lost, and when the handler outlasts the drain.
   * With a checkpoint, it also aborts when the stream has broken.
   */
  readonly signal: AbortSignal;
}

/**
 * Handler handles one outcome. If it throws or rejects, it is called again after a wait; see also `BeginAgainError`. It is called for
 * one update at a time of a session, and for several sessions side by side if there are several workers.
 */
export type Handler = (update: Update, context: HandlerContext) => void | Promise<void>;

/**
 * Checkpoint keeps the position of a consumer in a program's own store. Its methods and the handler are called one after the
 * other.
 */
export interface Checkpoint {
  /**
   * Returns the resume token that was stored last, or `""` if there is none. `consume` calls it before each stream, because another
   * instance can have had the consumer in between, and again when the stream has the consumer. If the token differs then, `consume`
   * begins with another stream. No handler runs meanwhile. The signal aborts after 30 s; `consume` then tries again.
   */
  load(signal: AbortSignal): string | Promise<string>;
  /**
   * Stores the resume token of an update, which was handled, or of a bookmark. A handler that stores `update.resumeToken` in its
   * own transaction needs `save` for bookmarks only. If it rejects, `consume` calls it again after a wait. If another program has
   * moved the position since `load`, reject with a `BeginAgainError`.
   */
  save(update: Update | Bookmark, signal: AbortSignal): void | Promise<void>;
}

/** ConsumeOptions are the options of `consume`. */
export interface ConsumeOptions extends StreamOptions {
  /**
   * How many handlers run side by side, each for another session. Default 1. A handler that waits for its next try is not counted.
   */
  readonly workers?: number | undefined;
  /** Also handles changes that brought no outcome, such as the grant of a retry and a redaction. */
  readonly everyChange?: boolean | undefined;
  /**
   * Ends with a {@link ConsumerNotFoundError} if the consumer does not exist. Without it, a consumer that the store has lost is
   * made again, and begins with the next outcome. With a checkpoint, it also requires that the checkpoint has a token.
   */
  readonly mustExist?: boolean | undefined;
  /**
   * Begins after the token that the checkpoint has, and saves each token there. Changes are handled one after the other, in the
   * order of the feed, and a handler that fails holds up all of them: so the token of a change stands for everything before it,
   * and a handler can store it in the transaction with its effects. It contradicts `workers`.
   *
   * `consume` acknowledges too, so that operators see how far the consumer is. If the checkpoint has a token, the consumer must
   * exist. If the service no longer has the changes after the token, `consume` ends with a {@link ResumeTokenExpiredError}. If the
   * checkpoint has no token although the consumer was used before, it ends with a `CheckpointLostError`. An acknowledgement of an
   * earlier run shows that if the caller has the right list, and `mustExist` says it too.
   */
  readonly checkpoint?: Checkpoint | undefined;
  /**
   * Acknowledges after each change, before the worker handles another one. Without it, `consume` acknowledges a second after the
   * first change, or after 100. Only the longest finished beginning is acknowledged.
   */
  readonly acknowledgeEach?: boolean | undefined;
  /**
   * How many changes are held, from the first one that is not handled on: a whole number of 1 to 1,000,000. Default 1,000. If there is
   * no room for a second, `consume` skips what the stream sends, 100 changes a second: so it keeps the consumer, and sees if another
   * instance takes over. When half of the room is free, it opens a stream that sends the skipped changes again.
   */
  readonly maxHeld?: number | undefined;
  /** How long `consume` waits for running handlers at its end, in milliseconds. Default 10,000. */
  readonly drainWithin?: number | undefined;
  /**
   * Is called each time a handler has failed, for logs and metrics. `wait` is the time until the handler is called again for this
   * update, in milliseconds. It must not throw.
   */
  readonly onFailure?: ((update: Update | Bookmark, error: unknown, wait: number) => void) | undefined;
  /** Passes over changes after which the status is none of these. Empty: any status. */
  readonly statuses?: readonly Status[] | undefined;
}
