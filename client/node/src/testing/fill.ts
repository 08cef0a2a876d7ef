import { clone, create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";

import * as v1 from "../gen/verification/v1/verification_pb.js";
import type { HistoryEntry, Verification, VerificationError } from "../gen/verification/v1/verification_pb.js";

/** Sets the missing fields of a state, by the state before it. now is in Unix seconds. */
export function fill(v: Verification, last: Verification | undefined, now: number): void {
  if (last !== undefined) {
    v.redaction = Math.max(v.redaction, last.redaction);
    v.clientReferenceId ||= last.clientReferenceId;
    v.account ||= last.account;
    v.replaces ||= last.replaces;
    v.supersededBy ||= last.supersededBy;
    if (last.resolution !== undefined) v.resolution ??= clone(v1.ResolutionSchema, last.resolution);
    if (v.type === 0 && v.stripeType === "") {
      v.type = last.type;
      v.stripeType = last.stripeType;
    }
    if (last.createTime !== undefined) v.createTime = last.createTime; // it never changes
  }
  if (!v.resolution?.kind) delete v.resolution;
  v.settled =
    v.status === v1.Status.VERIFIED ||
    v.status === v1.Status.CANCELED ||
    v.redaction === v1.Redaction.REDACTED ||
    v.resolution !== undefined;
  if (v.status !== 0) v.stripeStatus ||= stripesName(v1.Status, v.status);
  if (v.type !== 0) v.stripeType ||= stripesName(v1.VerificationType, v.type);
  if (v.lastError !== undefined && v.lastError.code > v1.ErrorCode.OTHER) {
    v.lastError.stripeCode ||= stripesName(v1.ErrorCode, v.lastError.code);
    v.lastError.category ||= category(v.lastError.code);
  }
  v.createTime ??= seconds(now);
  v.updateTime ??= seconds(now);
}

/** Returns a timestamp of whole Unix seconds. */
export function seconds(unix: number): Timestamp {
  return create(TimestampSchema, { seconds: BigInt(unix) });
}

/** Returns Stripe's name of a value of the contract, which is the contract's name in lower case. */
function stripesName(names: Record<number, string>, value: number): string {
  return (names[value] ?? String(value)).toLowerCase();
}

/** Returns the category of an error code, by the first word of its name. Codes of the session as a whole have no such word. */
function category(code: v1.ErrorCode): v1.ErrorCategory {
  const name = v1.ErrorCode[code] ?? "";
  for (const found of Object.values(v1.ErrorCategory)) {
    if (typeof found === "number" && name.startsWith(`${v1.ErrorCategory[found]}_`)) return found;
  }
  return v1.ErrorCategory.SESSION;
}

/** Clears the fields that a cancel and a redaction clear. */
export function erase(v: Verification): void {
  if (v.status === v1.Status.CANCELED) delete v.lastError;
  if (v.redaction === 0) return;
  v.clientReferenceId = v.lastVerificationReport = "";
  delete v.lastError;
  if (v.resolution !== undefined) v.resolution.principal = "";
}

/** Returns the input that made a revision: a webhook with the error in it, or an input of the service itself. */
export function historyEntry(v: Verification, carried: VerificationError | undefined, source: v1.Source): HistoryEntry {
  const entry = create(v1.HistoryEntrySchema, { revision: v.revision, source, effect: v1.Effect.APPLIED, status: v.status });
  if (v.updateTime !== undefined) entry.recordTime = v.updateTime;
  if (carried !== undefined) entry.error = carried;
  if (source === v1.Source.WEBHOOK) {
    const isCreation = v.revision === 1 && v.status === v1.Status.REQUIRES_INPUT && carried === undefined;
    entry.eventId = `evt_${v.sessionId}_${v.revision}`;
    entry.eventType = `identity.verification_session.${isCreation ? "created" : v.stripeStatus}`;
    if (v.updateTime !== undefined) entry.eventTime = v.updateTime;
  }
  return entry;
}
