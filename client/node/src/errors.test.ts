import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Metadata } from "@grpc/grpc-js";

import { fromStatus } from "./error-from.js";
import * as errors from "./errors.js";
import type { Code, Reason } from "./errors.js";
import { ErrorReason, RetryDenial } from "./gen/verification/v1/verification_pb.js";
import { Failure } from "./server.rig.js";

/** The code of each reason in the contract, and the name of the class that a caller catches. */
const contract: { readonly [R in Reason]: readonly [Code, string] } = {
  INVALID_REQUEST: ["INVALID_ARGUMENT", "InvalidRequestError"],
  SESSION_NOT_FOUND: ["NOT_FOUND", "NotFoundError"],
  RETRY_DENIED: ["FAILED_PRECONDITION", "RetryDeniedError"],
  RESUME_TOKEN_INVALID: ["INVALID_ARGUMENT", "ResumeTokenInvalidError"],
  RESUME_TOKEN_EXPIRED: ["OUT_OF_RANGE", "ResumeTokenExpiredError"],
  REVISION_LOST: ["OUT_OF_RANGE", "RevisionLostError"],
  STORE_UNAVAILABLE: ["UNAVAILABLE", "UnavailableError"],
  STRIPE_UNAVAILABLE: ["UNAVAILABLE", "UnavailableError"],
  STRIPE_REFUSED: ["FAILED_PRECONDITION", "StripeRefusedError"],
  STRIPE_NOT_CONFIGURED: ["FAILED_PRECONDITION", "StripeNotConfiguredError"],
  DRAINING: ["UNAVAILABLE", "UnavailableError"],
  STREAM_EXPIRED: ["UNAVAILABLE", "UnavailableError"],
  STREAM_STALLED: ["RESOURCE_EXHAUSTED", "UnavailableError"],
  TOO_MANY_STREAMS: ["RESOURCE_EXHAUSTED", "UnavailableError"],
  RATE_LIMITED: ["RESOURCE_EXHAUSTED", "UnavailableError"],
  OVERLOADED: ["UNAVAILABLE", "UnavailableError"],
  UNAUTHENTICATED: ["UNAUTHENTICATED", "UnauthenticatedError"],
  PERMISSION_DENIED: ["PERMISSION_DENIED", "PermissionDeniedError"],
  CONFLICT: ["ABORTED", "VerificationError"],
  INTERNAL: ["INTERNAL", "VerificationError"],
  CONSUMER_BUSY: ["ABORTED", "ConsumerBusyError"],
  CONSUMER_NOT_FOUND: ["NOT_FOUND", "ConsumerNotFoundError"],
  COMPARISON_LIMIT: ["RESOURCE_EXHAUSTED", "ComparisonLimitError"],
  NOT_COMPARABLE: ["FAILED_PRECONDITION", "NotComparableError"],
  STRIPE_SESSION_UNKNOWN: ["FAILED_PRECONDITION", "StripeSessionUnknownError"],
  TOO_MANY_CONSUMERS: ["RESOURCE_EXHAUSTED", "TooManyConsumersError"],
  CONSUMER_EXPIRED: ["OUT_OF_RANGE", "ConsumerExpiredError"],
};

/** The errors that are not a session that is missing, or a call to repeat, although their codes say so. */
const special: readonly Reason[] = [
  "CONSUMER_NOT_FOUND",
  "CONSUMER_EXPIRED",
  "CONSUMER_BUSY",
  "TOO_MANY_CONSUMERS",
  "COMPARISON_LIMIT",
];

test("the reasons are those of the contract", () => {
  const proto = readFileSync(new URL("../../../api/verification/v1/verification.proto", import.meta.url), "utf8");
  const names = [...proto.matchAll(/^ {2}ERROR_REASON_(\w+) = \d+;/gm)].map(([, name]) => name);
  assert.deepEqual([...Object.keys(contract), "UNSPECIFIED"].sort(), names.sort());
  assert.deepEqual(
    Object.keys(ErrorReason)
      .filter((name) => !/^\d/.test(name))
      .sort(),
    names.sort(),
  );
});

for (const [reason, [code, name]] of Object.entries(contract) as [Reason, readonly [Code, string]][]) {
  test(`${reason} is a ${name}`, () => {
    const error = fromStatus(new Failure(code, reason, { metadata: { a: "b" }, retryAfter: 1500 }));
    assert.equal(error.name, name);
    assert.equal(error.constructor.name, name);
    assert.ok(error instanceof errors.VerificationError);
    assert.deepEqual(
      [error.code, error.reason, error.retryAfter, { ...error.metadata }, error.fromService, error.message],
      [code, reason, 1500, { a: "b" }, true, `test: ${reason}`],
    );
    if (special.includes(reason)) {
      assert.ok(!(error instanceof errors.NotFoundError) && !(error instanceof errors.UnavailableError));
    }
  });
}

test("a denied retry names its denial and when it ends", () => {
  const metadata = { denial: "RETRY_DENIAL_COOLDOWN", superseded_by: "vs_2" };
  const before = Date.now();
  const error = fromStatus(new Failure("FAILED_PRECONDITION", "RETRY_DENIED", { metadata, retryAfter: 60_000 }));
  assert.ok(error instanceof errors.RetryDeniedError);
  assert.deepEqual([error.denial, error.supersededBy], [RetryDenial.COOLDOWN, "vs_2"]);
  assert.ok(error.nextRetryTime !== undefined && error.nextRetryTime.getTime() >= before + 60_000);
  const other = fromStatus(new Failure("FAILED_PRECONDITION", "RETRY_DENIED", { metadata: { denial: "RETRY_DENIAL_NEWER" } }));
  assert.ok(
    other instanceof errors.RetryDeniedError && other.denial === RetryDenial.UNSPECIFIED && other.nextRetryTime === undefined,
  );
});

test("an error of a proxy has no reason, and one readable line", () => {
  const error = fromStatus({ code: 14, details: `Bad\n\n  gateway ${"x".repeat(1000)}`, metadata: new Metadata() });
  assert.ok(error instanceof errors.UnavailableError);
  assert.deepEqual([error.reason, error.fromService, error.message.length], [undefined, false, 301]);
  assert.match(error.message, /^Bad gateway x/);
});

test("details that are no google.rpc.Status are passed over", () => {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from([255, 255, 255, 1, 2, 3]));
  const error = fromStatus({ code: 5, details: "no", metadata });
  assert.ok(error instanceof errors.NotFoundError && !error.fromService);
});

test("a reason of a newer service is unset, and the error is still the service's", () => {
  const error = fromStatus(new Failure("NOT_FOUND", "A_NEWER_ONE" as Reason));
  assert.ok(error instanceof errors.NotFoundError && error.reason === undefined && error.fromService);
});
