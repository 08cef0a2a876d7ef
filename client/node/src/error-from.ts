import { Metadata, status as grpcStatus } from "@grpc/grpc-js";

import { maxRetryAfter } from "./backoff.js";
import {
  ComparisonLimitError,
  ConsumerBusyError,
  ConsumerExpiredError,
  ConsumerNotFoundError,
  DeadlineExceededError,
  InvalidRequestError,
  NotComparableError,
  NotFoundError,
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
import type { Code, ErrorDetails, Reason } from "./errors.js";
import { ErrorReason, RetryDenial } from "./gen/verification/v1/verification_pb.js";
import { decodeDetails, errorDomain, statusDetailsKey } from "./status-details.js";

/** Status is the end of a call as gRPC reports it: a StatusObject or a ServiceError. */
export interface Status {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

type ErrorClass = new (details: ErrorDetails) => VerificationError;

/** The classes of the reasons that have one of their own. The class of any other reason is that of its code. */
const byReason: { readonly [R in Reason]?: ErrorClass } = {
  RESUME_TOKEN_INVALID: ResumeTokenInvalidError,
  RESUME_TOKEN_EXPIRED: ResumeTokenExpiredError,
  REVISION_LOST: RevisionLostError,
  STRIPE_NOT_CONFIGURED: StripeNotConfiguredError,
  STRIPE_REFUSED: StripeRefusedError,
  STRIPE_SESSION_UNKNOWN: StripeSessionUnknownError,
  CONSUMER_NOT_FOUND: ConsumerNotFoundError,
  CONSUMER_EXPIRED: ConsumerExpiredError,
  CONSUMER_BUSY: ConsumerBusyError,
  TOO_MANY_CONSUMERS: TooManyConsumersError,
  COMPARISON_LIMIT: ComparisonLimitError,
  NOT_COMPARABLE: NotComparableError,
};

/** The classes of the codes that have the same meaning from the service and from a proxy. */
const byCode: { readonly [C in Code]?: ErrorClass } = {
  INVALID_ARGUMENT: InvalidRequestError,
  NOT_FOUND: NotFoundError,
  PERMISSION_DENIED: PermissionDeniedError,
  UNAUTHENTICATED: UnauthenticatedError,
  UNAVAILABLE: UnavailableError,
  RESOURCE_EXHAUSTED: UnavailableError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
};

/** Returns the error of a call that ended with this status. */
export function fromStatus(status: Status): VerificationError {
  const received = status.metadata.get(statusDetailsKey)[0];
  const { info, retryAfter = 0 } = typeof received === "object" ? decodeDetails(received) : {};
  const fromService = info?.domain === errorDomain;
  const code = codeOf(status.code);
  const details: ErrorDetails = {
    code,
    message: fromService ? status.details : readable(status.details),
    reason: fromService ? reasonOf(info.reason) : undefined,
    retryAfter: Math.max(retryAfter, 0),
    metadata: fromService ? info.metadata : {},
    fromService,
    // An error of the service has nothing more in its cause.
    cause: !fromService && status instanceof Error ? status : undefined,
  };
  return newError(details);
}

/** Returns an error of the class that belongs to its reason or code. */
export function newError(details: ErrorDetails): VerificationError {
  const { code, reason } = details;
  if (reason === "RETRY_DENIED") {
    return retryDenied(details);
  }
  const Class = (reason && byReason[reason]) ?? byCode[code] ?? VerificationError;
  return new Class(details);
}

function retryDenied(details: ErrorDetails): RetryDeniedError {
  const denial = denialOf(details.metadata?.["denial"]);
  return new RetryDeniedError({
    ...details,
    denial,
    nextRetryTime: denial === RetryDenial.COOLDOWN ? new Date(Date.now() + (details.retryAfter ?? 0)) : undefined,
    supersededBy: details.metadata?.["superseded_by"] ?? "",
  });
}

function denialOf(name: string | undefined): RetryDenial {
  const value = RetryDenial[(name ?? "").replace("RETRY_DENIAL_", "") as keyof typeof RetryDenial];
  return typeof value === "number" ? value : RetryDenial.UNSPECIFIED;
}

function reasonOf(name: string): Reason | undefined {
  const short = name.replace("ERROR_REASON_", "");
  const known = typeof ErrorReason[short as Reason] === "number" && short !== "UNSPECIFIED";
  return known ? (short as Reason) : undefined;
}

/** Returns the name of a gRPC code. A code that gRPC does not have is UNKNOWN. */
export function codeOf(code: number): Code {
  const name = grpcStatus[code];
  return name === undefined || name === "OK" ? "UNKNOWN" : (name as Code);
}

/** The longest text of an error that the service did not make, in UTF-16 code units. */
const maxText = 300;

/** Returns a text as one line. */
export function readable(text: string): string {
  const line = text.split(/\s+/).join(" ").trim();
  return line.length > maxText ? `${line.slice(0, maxText)}…` : line;
}

/** Returns the wait that an error's server asks for, in milliseconds, at most an hour; 0: none. */
export function askedWait(error: unknown): number {
  return error instanceof VerificationError ? Math.min(error.retryAfter, maxRetryAfter) : 0;
}

/** Returns the error of a request that cannot be sent. */
export function invalid(message: string): InvalidRequestError {
  return new InvalidRequestError({ code: "INVALID_ARGUMENT", message });
}

/**
 * Throws an {@link InvalidRequestError} for a text that is not well-formed Unicode. The encoder would send another text in its
 * place.
 */
export function checkText(what: string, ...texts: readonly (string | undefined)[]): void {
  if (texts.some((text) => text !== undefined && /\p{Surrogate}/u.test(text))) {
    throw invalid(`${what} is not well-formed Unicode`);
  }
}
