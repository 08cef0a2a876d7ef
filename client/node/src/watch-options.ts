import type { Status } from "./gen/verification/v1/verification_pb.js";

/** StreamOptions are the options of watches and of `consume`. */
export interface StreamOptions {
  /**
   * Ends the watch or `consume`. A watch then throws the signal's reason. See {@link Client.consume} for what `consume` still does.
   */
  readonly signal?: AbortSignal | undefined;
  /** See {@link CallOptions.token}. */
  readonly token?: string | undefined;
  /**
   * The interval at which the service sends a heartbeat while nothing changes, in milliseconds: 5,000 to 300,000. Other values
   * are clamped. Default 30,000. Choose less than the idle timeout of the proxies in between. A stream that is silent for two and
   * a half times the interval is closed and resumed.
   */
  readonly heartbeat?: number | undefined;
  /**
   * Is called each time the stream is lost and will be resumed, for logs and metrics. `wait` is the longest wait before the next
   * try, in milliseconds. `consume` calls it also for an acknowledgement that failed and will be repeated, and with a
   * {@link ConsumerBusyError} while it stands by. It must not throw.
   */
  readonly onInterruption?: ((error: Error, wait: number) => void) | undefined;
}

/** WatchOptions are the options of `watch`. */
export interface WatchOptions extends StreamOptions {
  /**
   * Ends the watch without an error once the subject is settled: after the update that says so, or at once if the resume token is
   * that of such an update.
   */
  readonly untilSettled?: boolean | undefined;
  /** Begins after the update that had this token. With an empty token, the watch begins with the current status. */
  readonly resumeFrom?: string | undefined;
  /**
   * Also yields a {@link Bookmark} at each heartbeat. Use it in a program that stores tokens: a token that is renewed does not
   * expire.
   */
  readonly bookmarks?: boolean | undefined;
}

/** WatchAllOptions are the options of `watchAll`. */
export interface WatchAllOptions extends StreamOptions {
  /** Begins after the update that had this token. With an empty token, the watch begins with the next change. */
  readonly resumeFrom?: string | undefined;
  /** Also yields a {@link Bookmark} at the start and at each heartbeat. */
  readonly bookmarks?: boolean | undefined;
  /**
   * Yields only changes that brought a new outcome: another status, error or report. If the revision that brought an outcome is no
   * longer kept (it was redacted or archived), the oldest revision that is kept comes in its place. Its outcomeRevision and
   * outcomeId name the outcome.
   */
  readonly outcomesOnly?: boolean | undefined;
  /** Passes over changes after which the status is none of these. Empty: any status. */
  readonly statuses?: readonly Status[] | undefined;
}
