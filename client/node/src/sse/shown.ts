import { create, toJsonString } from "@bufbuild/protobuf";

import {
  ResolutionSchema,
  RetryStateSchema,
  VerificationErrorSchema,
  VerificationSchema,
} from "../gen/verification/v1/verification_pb.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";

/**
 * Returns the fields of a verification that a browser may see, as one line of protobuf's JSON. It lists them one by one, so that a new
 * field of the contract stays private until it is added here and in the Go package client/sse, which has the same list.
 *
 * It leaves out the company's own fields (client_reference_id, account, livemode, superseded_by, replaces), what is for consumers of
 * the feed (outcome_revision, outcome_id), the id of the report at Stripe (last_verification_report), and Stripe's raw codes. Of a
 * resolution it includes the kind alone: the name of the operator and the time stay private. Stripe writes the reason of a failure for
 * the person, so it is included.
 */
export function shown(v: Verification): string {
  const { sessionId, status, type, lastError, updateTime, revision, retry, settled, resolution } = v;
  const seen = create(VerificationSchema, { sessionId, status, type, revision, settled });
  if (updateTime !== undefined) seen.updateTime = updateTime;
  if (lastError !== undefined) {
    const { code, reason, category } = lastError;
    seen.lastError = create(VerificationErrorSchema, { code, reason, category });
  }
  if (retry !== undefined) {
    const { allowed, denial, nextRetryTime, retriesRemaining, overrideOpen } = retry;
    seen.retry = create(RetryStateSchema, { allowed, denial, retriesRemaining, overrideOpen });
    if (nextRetryTime !== undefined) seen.retry.nextRetryTime = nextRetryTime;
  }
  if (resolution?.kind) seen.resolution = create(ResolutionSchema, { kind: resolution.kind });
  return toJsonString(VerificationSchema, seen);
}
