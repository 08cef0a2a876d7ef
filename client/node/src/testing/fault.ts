import { Metadata, status } from "@grpc/grpc-js";

import type { Reason } from "../errors.js";
import { RetryDenial } from "../gen/verification/v1/verification_pb.js";
import { badRequest, encodeStatus, errorInfo, preconditionFailure, retryInfo } from "./details.js";
import type { Detail } from "./details.js";

/**
 * Fault is an error with which a {@link FakeServer} ends a call. Functions for `onRetry` and `onCompare` throw it.
 *
 * `new Fault(status.UNIMPLEMENTED, "404")` is an error that the service did not make, such as a proxy's. {@link fault} makes the
 * service's own ones.
 */
export class Fault extends Error {
  override readonly name: string = "Fault";
  /** The gRPC code, such as `status.UNAVAILABLE` of grpc-js. */
  readonly code: number;
  /** The trailers, with the details of the error. */
  readonly metadata: Metadata = new Metadata();

  /** Makes an error with a gRPC code from 1 to 16 and a text. */
  constructor(code: number, message: string, details: readonly Detail[] = []) {
    super(message);
    this.code = code;
    if (details.length > 0) this.metadata.set("grpc-status-details-bin", encodeStatus(code, message, details));
  }
}

/** The RetryInfo of errors, in milliseconds. The service's is a second. */
export const retryWait = 1;

const codes: Record<Reason, number> = {
  INVALID_REQUEST: status.INVALID_ARGUMENT,
  SESSION_NOT_FOUND: status.NOT_FOUND,
  RETRY_DENIED: status.FAILED_PRECONDITION,
  RESUME_TOKEN_INVALID: status.INVALID_ARGUMENT,
  RESUME_TOKEN_EXPIRED: status.OUT_OF_RANGE,
  REVISION_LOST: status.OUT_OF_RANGE,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  STRIPE_UNAVAILABLE: status.UNAVAILABLE,
  STRIPE_REFUSED: status.FAILED_PRECONDITION,
  STRIPE_NOT_CONFIGURED: status.FAILED_PRECONDITION,
  DRAINING: status.UNAVAILABLE,
  STREAM_EXPIRED: status.UNAVAILABLE,
  STREAM_STALLED: status.RESOURCE_EXHAUSTED,
  TOO_MANY_STREAMS: status.RESOURCE_EXHAUSTED,
  RATE_LIMITED: status.RESOURCE_EXHAUSTED,
  OVERLOADED: status.UNAVAILABLE,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  CONFLICT: status.ABORTED,
  INTERNAL: status.INTERNAL,
  CONSUMER_BUSY: status.ABORTED,
  CONSUMER_NOT_FOUND: status.NOT_FOUND,
  COMPARISON_LIMIT: status.RESOURCE_EXHAUSTED,
  NOT_COMPARABLE: status.FAILED_PRECONDITION,
  STRIPE_SESSION_UNKNOWN: status.FAILED_PRECONDITION,
  TOO_MANY_CONSUMERS: status.RESOURCE_EXHAUSTED,
  CONSUMER_EXPIRED: status.OUT_OF_RANGE,
};

/** Returns the error of the service for a reason: code, ErrorInfo and, if the contract promises it, RetryInfo, of one millisecond. */
export function fault(reason: Reason): Fault {
  const code = codes[reason];
  const waits =
    code === status.UNAVAILABLE || code === status.ABORTED || reason === "RATE_LIMITED" || reason === "COMPARISON_LIMIT";
  const details = waits ? [retryInfo(retryWait)] : [];
  if (reason === "RESUME_TOKEN_INVALID") details.push(badRequest("resume_token", "is not a token of this watch"));
  return own(reason, "made by FakeServer", {}, ...details);
}

/**
 * Returns the error of a denied RetryVerification. `wait` is the time until a retry is allowed, in milliseconds; it counts with
 * `RetryDenial.COOLDOWN` only. Set `supersededBy` with `RetryDenial.SUPERSEDED`.
 */
export function retryDenied(denial: RetryDenial, options: { supersededBy?: string; wait?: number } = {}): Fault {
  const name = `RETRY_DENIAL_${RetryDenial[denial] ?? denial}`;
  const metadata: Record<string, string> = { denial: name };
  if (options.supersededBy) metadata["superseded_by"] = options.supersededBy;
  const details = [preconditionFailure(name, "session_id", "made by FakeServer")];
  if (denial === RetryDenial.COOLDOWN) details.push(retryInfo(options.wait ?? 0));
  return own("RETRY_DENIED", "no retry", metadata, ...details);
}

/** Returns the error of a call that Stripe refused, with the code that says why, such as `no_link`. */
export function stripeRefused(stripeCode: string): Fault {
  return own("STRIPE_REFUSED", `Stripe refused the call: ${stripeCode}`, { stripe_code: stripeCode });
}

/** Returns the error of an operator's call if `seenOutcome` is that of another outcome than the session has now. */
export function outcomeChanged(outcomeRevision: number): Fault {
  return own("CONFLICT", "the session has another outcome by now", { outcome_revision: String(outcomeRevision) });
}

/** Returns the error of an invalid request. */
export function invalid(field: string, description: string): Fault {
  return own("INVALID_REQUEST", `${field}: ${description}`, {}, badRequest(field, description));
}

/** Returns an error of the service that asks for a wait in milliseconds. */
export function waiting(reason: Reason, message: string, wait: number): Fault {
  return own(reason, message, {}, retryInfo(wait));
}

/** Returns the error of an open stream whose consumer was deleted. */
export function consumerDeleted(): Fault {
  return make(status.ABORTED, "CONSUMER_NOT_FOUND", "the consumer was deleted", {}, []);
}

function own(reason: Reason, message: string, metadata: Record<string, string>, ...details: Detail[]): Fault {
  return make(codes[reason], reason, message, metadata, details);
}

function make(code: number, reason: Reason, message: string, metadata: Record<string, string>, details: Detail[]): Fault {
  return new Fault(code, message, [errorInfo(`ERROR_REASON_${reason}`, "verification.v1", metadata), ...details]);
}
