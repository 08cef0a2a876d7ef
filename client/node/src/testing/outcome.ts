import { createHash } from "node:crypto";

import { clone, equals } from "@bufbuild/protobuf";

import { VerificationErrorSchema, VerificationSchema } from "../gen/verification/v1/verification_pb.js";
import type { AllSessions, Verification, VerificationError } from "../gen/verification/v1/verification_pb.js";
import type { Session } from "./session.js";

/** Sets outcome_revision and outcome_id of a new revision, by the state before. */
export function setOutcome(v: Verification, last: Verification | undefined): void {
  if (last !== undefined && !brings(last, v)) {
    v.outcomeRevision = last.outcomeRevision;
    v.outcomeId = last.outcomeId;
    return;
  }
  v.outcomeRevision = v.revision;
  v.outcomeId = outcomeId(v);
}

/** Returns whether a state shows another outcome than the state before. What a redaction erases is no difference. */
function brings(before: Verification, v: Verification): boolean {
  const erased = v.redaction !== 0;
  const failure = erased ? undefined : before.lastError;
  const report = erased ? "" : before.lastVerificationReport;
  return before.stripeStatus !== v.stripeStatus || report !== v.lastVerificationReport || !sameError(failure, v.lastError);
}

export function sameError(a: VerificationError | undefined, b: VerificationError | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equals(VerificationErrorSchema, a, b);
}

/** Hashes what names an outcome. The length of each text precedes the text. */
function outcomeId(v: Verification): string {
  const hash = createHash("sha256");
  for (const text of [v.sessionId, v.stripeStatus, v.lastError?.stripeCode ?? "", v.lastVerificationReport]) {
    const bytes = Buffer.from(text);
    hash.update(varint(BigInt(bytes.length))).update(bytes);
  }
  const seconds = v.updateTime?.seconds ?? 0n;
  hash.update(varint(BigInt.asUintN(64, (seconds << 1n) ^ (seconds >> 63n))));
  return hash.digest().subarray(0, 16).toString("base64url");
}

/** Returns protobuf's varint of an unsigned number. */
function varint(n: bigint): Uint8Array {
  const bytes: number[] = [];
  for (; n >= 0x80n; n >>= 7n) bytes.push(Number(n & 0x7fn) | 0x80);
  bytes.push(Number(n));
  return Uint8Array.from(bytes);
}

/** Returns whether two states are equal without revision, outcome and update_time, which set derives. */
export function same(a: Verification, b: Verification): boolean {
  const [x, y] = [a, b].map((each) => {
    const v = clone(VerificationSchema, each);
    v.revision = v.outcomeRevision = 0;
    v.outcomeId = "";
    delete v.updateTime;
    return v;
  }) as [Verification, Verification];
  return equals(VerificationSchema, x, y);
}

/** Returns whether a filter of all sessions selects a revision of a session. */
export function selects(life: Session, all: AllSessions, v: Verification): boolean {
  if (!all.outcomesOnly && all.statuses.length === 0) return true;
  if (v.revision === life.redacted && (v.outcomeRevision < life.redacted || (life.redacted > 1 && all.statuses.length > 0))) {
    return true; // the watch might never have shown an outcome of before
  }
  if (all.outcomesOnly && v.outcomeRevision !== v.revision) return false;
  return all.statuses.length === 0 || all.statuses.includes(v.status);
}
