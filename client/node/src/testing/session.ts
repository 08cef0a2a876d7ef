import { clone, create } from "@bufbuild/protobuf";

import { RetryDenial, Status } from "../gen/verification/v1/verification_pb.js";
import { RetryStateSchema, VerificationSchema } from "../gen/verification/v1/verification_pb.js";
import type { HistoryEntry, RetryState, Verification } from "../gen/verification/v1/verification_pb.js";
import { sameError } from "./outcome.js";

/** The service's default settings: the number of retries, and the errors after which a retry is denied. */
const maxRetries = 2;
const denyCodes = ["consent_declined", "country_not_supported", "selfie_manipulated", "under_supported_age"];

/** Allowance is an operator's permission for one more try. */
export interface Allowance {
  /** The id of the failure that it is for; "": there was none. */
  failure: string;
  /** Whether it is for the replacement of a canceled session. */
  replacement: boolean;
}

/** Session is one session with all its revisions. */
export class Session {
  /** Revision n is at n-1. */
  readonly revisions: Verification[] = [];
  history: HistoryEntry[] = [];
  /** The first redacted revision; 0: none. */
  redacted = 0;
  inDoubt = false;
  allowance: Allowance | undefined;
  /** Failed attempts of the session that it replaced. */
  inherited = 0;
  /** The times of the last day's comparisons in Unix milliseconds, the oldest first. */
  compared: number[] = [];

  /** The counted failures by id; true: a retry was granted for it. */
  readonly failures = new Map<string, boolean>();
  /** The failure counted last. The id is its report, or a number if it has none. */
  newest = { id: "", code: "" };
  /** The id of the failure in the current state; "": none that counts. */
  #shown = "";

  /** The current state; undefined before the first one. */
  get latest(): Verification | undefined {
    return this.revisions.at(-1);
  }

  /** Returns one revision, or undefined if a redaction erased it. */
  at(revision: number): Verification | undefined {
    return revision < this.redacted ? undefined : this.revisions[revision - 1];
  }

  /** Returns whether the session had another reference than this one after a revision. */
  hadOtherReference(reference: string, revision: number): boolean {
    return (
      revision > 0 && this.revisions.slice(revision).some((v) => v.clientReferenceId !== "" && v.clientReferenceId !== reference)
    );
  }

  /** Counts the failure that v shows, if any. It returns whether the failure is a new one. */
  count(v: Verification, last: Verification | undefined): boolean {
    const failure = v.lastError;
    const before = this.#shown;
    this.#shown = "";
    const none = failure === undefined || (failure.code === 0 && failure.stripeCode === "" && failure.reason === "");
    if (v.status !== Status.REQUIRES_INPUT || none || failure.stripeCode === "abandoned") return false;
    let id = v.lastVerificationReport;
    if (id === "" && before !== "" && sameError(failure, last?.lastError)) id = before; // nothing was submitted since
    if (id === "") id = String(this.failures.size);
    const counted = this.failures.has(id);
    if (!counted) this.failures.set(id, false);
    this.#shown = id;
    this.newest = { id, code: failure.stripeCode };
    return !counted;
  }

  /** Returns the RetryState of v by the contract. last is the state before. failed adds a failure. */
  retryState(v: Verification, last: Verification | undefined, failed: boolean): RetryState {
    const before = v.retry ?? last?.retry;
    const r = before ? clone(RetryStateSchema, before) : create(RetryStateSchema, { retriesRemaining: maxRetries });
    if (failed) r.failedAttempts++;
    delete r.nextRetryTime;
    r.overrideOpen = this.open(v);
    r.denial = stateDenial(v);
    if (r.denial === 0 && !r.overrideOpen) r.denial = this.failureDenial(r);
    r.allowed = r.denial === 0;
    return r;
  }

  /** Returns why the newest failure denies a retry. */
  failureDenial(r: RetryState): RetryDenial {
    if (this.newest.id === "" || this.failures.get(this.newest.id)) return RetryDenial.UNSPECIFIED;
    if (denyCodes.includes(this.newest.code)) return RetryDenial.NOT_RETRYABLE;
    return r.retriesRemaining === 0 ? RetryDenial.LIMIT_REACHED : RetryDenial.UNSPECIFIED;
  }

  /** Returns why the replacement of a canceled session is denied. */
  replacementDenial(): RetryDenial {
    const v = this.latest as Verification;
    const r = v.retry ?? create(RetryStateSchema);
    if (v.resolution !== undefined) return RetryDenial.RESOLVED;
    if (this.open(v)) return RetryDenial.UNSPECIFIED;
    const denial = this.failureDenial(r);
    if (denial === 0 && r.retriesRemaining === 0) return RetryDenial.LIMIT_REACHED; // a replacement uses a retry itself
    return denial;
  }

  /** Returns whether an allowance of the session in state v is open: it is for the newest failure, and no grant has used it. */
  open(v: Verification): boolean {
    if (this.allowance === undefined || v.supersededBy !== "" || v.redaction !== 0) return false;
    return this.allowance.failure === this.newest.id && (this.allowance.replacement || !this.failures.get(this.newest.id));
  }

  /** Returns the state after a grant. A grant that uses an open allowance uses none of the person's own retries. */
  useRetry(): Verification {
    const v = clone(VerificationSchema, this.latest as Verification);
    const r = (v.retry ??= create(RetryStateSchema));
    r.retriesGranted++;
    if (this.open(v)) {
      this.allowance = undefined;
      return v;
    }
    r.retriesRemaining = Math.max(0, r.retriesRemaining - 1);
    return v;
  }
}

/** Returns why the state of a session denies a retry. */
export function stateDenial(v: Verification): RetryDenial {
  if (v.supersededBy !== "") return RetryDenial.SUPERSEDED;
  if (v.redaction !== 0) return RetryDenial.REDACTED;
  if (v.status === Status.CANCELED) return RetryDenial.CANCELED;
  if (v.status === Status.VERIFIED) return RetryDenial.ALREADY_VERIFIED;
  if (v.resolution !== undefined) return RetryDenial.RESOLVED;
  return v.status === Status.REQUIRES_INPUT ? RetryDenial.UNSPECIFIED : RetryDenial.PROCESSING;
}

/** Returns whether a is newer than b: by creation time, then by session id. */
export function isNewer(a: Verification, b: Verification): boolean {
  return compareAge(a, b) > 0;
}

/** Compares two sessions by creation time, then by session id. */
export function compareAge(a: Verification, b: Verification): number {
  const [x, y] = [a.createTime?.seconds ?? 0n, b.createTime?.seconds ?? 0n];
  if (x !== y) return x < y ? -1 : 1;
  return compareText(a.sessionId, b.sessionId);
}

/** Compares two texts of ASCII byte by byte. */
export function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
