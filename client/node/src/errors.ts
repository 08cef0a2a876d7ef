import type { ErrorReason, RetryDenial } from "./gen/verification/v1/verification_pb.js";

/** Code is the name of a gRPC status code that an error can have. */
export type Code =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** Reason is the name of a reason of the contract, without its prefix `ERROR_REASON_`. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** ErrorDetails are what an error consists of. */
export interface ErrorDetails {
  /** See {@link VerificationError.code}. */
  readonly code: Code;
  /** See {@link VerificationError.message}. */
  readonly message: string;
  /** See {@link VerificationError.reason}. */
  readonly reason?: Reason | undefined;
  /** See {@link VerificationError.retryAfter}. */
  readonly retryAfter?: number | undefined;
  /** See {@link VerificationError.metadata}. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** See {@link VerificationError.fromService}. */
  readonly fromService?: boolean | undefined;
  /** The error as gRPC returned it. */
  readonly cause?: unknown;
}

/** VerificationError is the error of a failed call. All errors of calls are of this class or of one that extends it. */
export class VerificationError extends Error {
  override readonly name: string = "VerificationError";
  /** The gRPC code. */
  readonly code: Code;
  /**
   * The contract's reason. Unset if the error came from a connection or a proxy, or has a reason that this version does not know.
   */
  readonly reason: Reason | undefined;
  /** The wait before another try that the server asks for, in milliseconds; 0: it asks for none. */
  readonly retryAfter: number;
  /** Details of the reason, such as `stripe_code` with `STRIPE_REFUSED`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Whether verification-status itself made the error, not a proxy, a connection or this package. */
  readonly fromService: boolean;

  /** Makes an error. Programs catch errors of this package and need not make any. */
  constructor(details: ErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.reason = details.reason;
    this.retryAfter = details.retryAfter ?? 0;
    this.metadata = details.metadata ?? {};
    this.fromService = details.fromService ?? false;
  }
}

/** The service does not know the session. Stripe does not know it either, if the service can ask. */
export class NotFoundError extends VerificationError {
  override readonly name: string = "NotFoundError";
}

/** The request is invalid. The text names the field. The caller's code must change. */
export class InvalidRequestError extends VerificationError {
  override readonly name: string = "InvalidRequestError";
}

/** The token is not of this service, or of another subject. */
export class ResumeTokenInvalidError extends InvalidRequestError {
  override readonly name: string = "ResumeTokenInvalidError";
}

/**
 * The service no longer has the changes after the token, so the caller can have missed some. Only `watchAll` and `consume` end with
 * it; `watch` restarts (see {@link Update.reset}).
 */
export class ResumeTokenExpiredError extends VerificationError {
  override readonly name: string = "ResumeTokenExpiredError";
}

/**
 * `consume` rejects with it if its checkpoint has no token, but the consumer has acknowledged changes. Their effects can be lost with the
 * token.
 */
export class CheckpointLostError extends Error {
  override readonly name: string = "CheckpointLostError";
}

/**
 * No error of a call: a handler of `consume`, or `Checkpoint.save`, throws it (also as the `cause` of another error) if the position of
 * the checkpoint is not where it left it. `consume` then drops what it holds, loads the checkpoint and begins there with another stream.
 * Without a checkpoint it begins after what was acknowledged.
 */
export class BeginAgainError extends Error {
  override readonly name: string = "BeginAgainError";
}

/** The store has lost the revision of `minRevision`. Ask again without it. */
export class RevisionLostError extends VerificationError {
  override readonly name: string = "RevisionLostError";
}

/** The server could not identify the caller. */
export class UnauthenticatedError extends VerificationError {
  override readonly name: string = "UnauthenticatedError";
}

/** The caller may not make this call. */
export class PermissionDeniedError extends VerificationError {
  override readonly name: string = "PermissionDeniedError";
}

/** The server has no Stripe API key. Its operator must set one. */
export class StripeNotConfiguredError extends VerificationError {
  override readonly name: string = "StripeNotConfiguredError";
}

/**
 * Stripe refuses the call. `metadata.stripe_code` says why, such as `no_link` for a session to which Stripe gives no link.
 */
export class StripeRefusedError extends VerificationError {
  override readonly name: string = "StripeRefusedError";
}

/** The service knows the session, but Stripe does not know it under the service's key. An operator must look at it. */
export class StripeSessionUnknownError extends VerificationError {
  override readonly name: string = "StripeSessionUnknownError";
}

/**
 * The named consumer does not exist, or is another one of the same name: it was deleted, or the store has lost it. Changes can be
 * lost to the caller.
 */
export class ConsumerNotFoundError extends VerificationError {
  override readonly name: string = "ConsumerNotFoundError";
}

/**
 * Changes that the consumer has not acknowledged are gone. Delete the consumer, begin with a new one, and then look at the sessions
 * that matter: the new consumer gets what changes meanwhile.
 */
export class ConsumerExpiredError extends VerificationError {
  override readonly name: string = "ConsumerExpiredError";
}

/** Another stream of the consumer is open. `consume` stands by and never ends with it. */
export class ConsumerBusyError extends VerificationError {
  override readonly name: string = "ConsumerBusyError";
}

/** The service has as many consumers as it keeps. Delete one. */
export class TooManyConsumersError extends VerificationError {
  override readonly name: string = "TooManyConsumersError";
}

/** The session has another outcome than the one of `seenOutcome`. Nothing was changed: look at the session again. */
export class OutcomeChangedError extends VerificationError {
  override readonly name: string = "OutcomeChangedError";
}

/** The comparisons of the session are used up. `retryAfter` says when the next one is allowed. */
export class ComparisonLimitError extends VerificationError {
  override readonly name: string = "ComparisonLimitError";
}

/** The session has no verified values, because it is not verified or is redacted. */
export class NotComparableError extends VerificationError {
  override readonly name: string = "NotComparableError";
}

/** Try again later. `retryAfter` says when, if the server says it. */
export class UnavailableError extends VerificationError {
  override readonly name: string = "UnavailableError";
}

/** The call took longer than its timeout. */
export class DeadlineExceededError extends VerificationError {
  override readonly name: string = "DeadlineExceededError";
}

/** The client is closed. It ends calls, watches, lists and `consume`. */
export class ClosedError extends VerificationError {
  override readonly name: string = "ClosedError";
}

/** The service denies a retry. `retry` and `allowRetry` reject with it. */
export class RetryDeniedError extends VerificationError {
  override readonly name: string = "RetryDeniedError";
  /** The reason of the denial. */
  readonly denial: RetryDenial;
  /** The time from which on a retry is allowed, by this machine's clock. Unset without `RetryDenial.COOLDOWN`. */
  readonly nextRetryTime: Date | undefined;
  /** The session to use instead. Empty without `RetryDenial.SUPERSEDED`. */
  readonly supersededBy: string;

  /** Makes an error. See {@link VerificationError}. */
  constructor(details: ErrorDetails & { denial: RetryDenial; nextRetryTime?: Date | undefined; supersededBy?: string }) {
    super(details);
    this.denial = details.denial;
    this.nextRetryTime = details.nextRetryTime;
    this.supersededBy = details.supersededBy ?? "";
  }
}
