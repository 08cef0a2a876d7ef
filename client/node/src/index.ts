/**
 * The client of verification-status: it asks whether a person is verified, why the last check failed, and whether the person may
 * try again. Begin with {@link connect}.
 *
 * @module
 */
export { connect } from "./connect.js";
export type { Client, Expected, Link, Operator, WaitOptions } from "./client.js";
export type { Checkpoint, ConsumeOptions, Handler, HandlerContext } from "./consume-options.js";
export {
  BeginAgainError,
  CheckpointLostError,
  ClosedError,
  ComparisonLimitError,
  ConsumerBusyError,
  ConsumerExpiredError,
  ConsumerNotFoundError,
  DeadlineExceededError,
  InvalidRequestError,
  NotComparableError,
  NotFoundError,
  OutcomeChangedError,
  PermissionDeniedError,
  ResumeTokenExpiredError,
  ResumeTokenInvalidError,
  RetryDeniedError,
  RevisionLostError,
  StripeNotConfiguredError,
  StripeRefusedError,
  StripeSessionUnknownError,
  TooManyConsumersError,
  UnauthenticatedError,
  UnavailableError,
  VerificationError,
} from "./errors.js";
export type { Code, ErrorDetails, Reason } from "./errors.js";
export { verificationToJson } from "./json.js";
export type { ListOptions, ListQuery } from "./list-query.js";
export type { Backoff, CallOptions, ConnectOptions, OperatorOptions, RetryOptions, StatusOptions, TokenSource } from "./options.js";
export { Secret } from "./secret.js";
export type { Subject } from "./subject.js";
export type { TlsOptions } from "./tls.js";
export type { Bookmark, Update } from "./update.js";
export type { StreamOptions, WatchAllOptions, WatchOptions } from "./watch-options.js";

// The messages and enums that answers consist of. `contract` has all of them, also those of requests.
export * as contract from "./contract.js";
export {
  Effect,
  ErrorCategory,
  ErrorCode,
  MatchResult,
  MatchRule,
  Operation,
  Redaction,
  ResolutionKind,
  RetryDenial,
  Source,
  Status,
  VerificationSchema,
  VerificationType,
} from "./contract.js";
export type {
  Consumer,
  FieldComparison,
  HistoryEntry,
  Person,
  Resolution,
  RetryState,
  Verification,
  VerificationError as LastError,
} from "./contract.js";
