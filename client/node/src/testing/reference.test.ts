import { test } from "node:test";

import { OperatorService } from "../gen/verification/v1/operator_pb.js";
import {
  ErrorCode,
  Redaction,
  ResolutionKind,
  RetryDenial,
  Status,
  VerificationType,
} from "../gen/verification/v1/verification_pb.js";
import { Pair, getStatus, retryVerification } from "./pair.rig.js";
import type { State } from "./pair.rig.js";
import { all, byReference, failed, filters } from "./requests.rig.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED, CANCELED } = Status;

test("shows each state as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const erased = (status: Status, redaction = Redaction.REDACTED): State => ({ sessionId: "", status, redaction });
  const states: Record<string, State[]> = {
    open: [{ sessionId: "", status: REQUIRES_INPUT, clientReferenceId: "person" }],
    strange: [{ sessionId: "", stripeStatus: "reviewing" }],
    strangetype: [{ sessionId: "", status: PROCESSING, stripeType: "palm" }],
    beyond: [{ sessionId: "", status: 77 as Status, type: 78 as VerificationType, lastError: { code: 79 as ErrorCode } }],
    flow: [{ sessionId: "", status: REQUIRES_INPUT, type: VerificationType.VERIFICATION_FLOW, livemode: true, account: "acct_1" }],
    verified: [
      { sessionId: "", status: PROCESSING },
      { sessionId: "", status: VERIFIED, lastVerificationReport: "vr_1" },
    ],
    canceled: [{ sessionId: "", status: CANCELED }],
    unreported: [{ sessionId: "", status: REQUIRES_INPUT, lastError: { code: ErrorCode.DOCUMENT_EXPIRED } }],
    reasononly: [{ sessionId: "", status: REQUIRES_INPUT, lastError: { reason: "Because." } }],
    other: [{ sessionId: "", status: REQUIRES_INPUT, lastError: { code: ErrorCode.OTHER, stripeCode: "to_come" } }],
    failclosed: [failed("", 1), { ...failed("", 1), status: CANCELED }],
    twice: [failed("", 1), { sessionId: "", status: PROCESSING }, failed("", 2)],
    sameagain: [failed("", 1), { sessionId: "", status: PROCESSING }, failed("", 1)],
    repeated: [failed("", 1), failed("", 1)],
    errorwhile: [{ ...failed("", 1), status: PROCESSING }],
    erasing: [{ sessionId: "", status: VERIFIED, clientReferenceId: "erased" }, erased(VERIFIED, Redaction.PROCESSING)],
    erased: [
      { sessionId: "", status: VERIFIED, clientReferenceId: "erased" },
      erased(VERIFIED, Redaction.PROCESSING),
      erased(VERIFIED),
    ],
    erasedopen: [failed("", 1), { ...failed("", 1), redaction: Redaction.REDACTED }],
    erasedfirst: [{ ...erased(CANCELED), clientReferenceId: "erased" }],
    erasedback: [
      erased(VERIFIED),
      { ...erased(VERIFIED, Redaction.PROCESSING), clientReferenceId: "erased", lastVerificationReport: "vr_1" },
    ],
    resolved: [
      { ...failed("", 1), resolution: { kind: ResolutionKind.CLOSED, principal: "token:desk", time: { seconds: 1n } } },
      { sessionId: "", status: PROCESSING },
    ],
    resolvedback: [
      { ...failed("", 1), resolution: { kind: ResolutionKind.DECLINED } },
      { ...failed("", 1), resolution: {} },
    ],
    timed: [
      { sessionId: "", status: PROCESSING, updateTime: { seconds: 5n, nanos: 6000 } },
      { sessionId: "", status: PROCESSING, updateTime: { seconds: 7n } },
    ],
    before1970: [{ sessionId: "", status: PROCESSING, updateTime: { seconds: -5n } }],
    reported: [failed("", 1), failed("", 2)],
    tie1: [
      { sessionId: "", status: PROCESSING, clientReferenceId: "person", createTime: { seconds: 3n }, updateTime: { seconds: 3n } },
    ],
    tie2: [
      { sessionId: "", status: PROCESSING, clientReferenceId: "person", createTime: { seconds: 3n }, updateTime: { seconds: 3n } },
    ],
    told: [{ ...failed("", 1), retry: { denial: RetryDenial.COOLDOWN, nextRetryTime: { seconds: 4_000_000_000n } } }],
  };
  for (const name of Object.values(ErrorCode)) {
    if (typeof name === "string") states[name.toLowerCase()] = [failed("", 1, ErrorCode[name as keyof typeof ErrorCode])];
  }
  for (const [name, life] of Object.entries(states)) {
    const sessionId = `vs_${name}`;
    for (const state of life) await p.set({ ...state, sessionId });
    await p.everything(sessionId);
    await p.retries(name, sessionId);
    await p.everything(sessionId);
  }
  for (const reference of ["person", "erased"]) {
    await p.same(`person ${reference}`, getStatus, { subject: byReference(reference), includePerson: true });
    await p.watch(`watch ${reference}`, 1, { subject: byReference(reference), untilSettled: true });
  }
  await p.run({ do: "setInDoubt", session: "vs_open", on: true });
  for (const filter of filters) await p.pages(filter, 3);
});

test("grants retries as the Go fake does", async (t) => {
  const bad = (report: number): State => failed("vs_1", report);
  const young = (report: number): State => failed("vs_1", report, ErrorCode.UNDER_SUPPORTED_AGE);
  const checked: State = { sessionId: "vs_1", status: PROCESSING };
  const closed: State = { sessionId: "vs_1", status: CANCELED };
  const open: State = { sessionId: "vs_1", status: REQUIRES_INPUT, clientReferenceId: "person" };
  const left: State = {
    sessionId: "vs_1",
    status: REQUIRES_INPUT,
    lastError: { code: ErrorCode.ABANDONED, reason: "Left." },
    clientReferenceId: "person",
  };
  const lives: Record<string, (State | "retry" | "allow")[]> = {
    "never submitted": [open, "retry", "retry"],
    "to the limit": [
      bad(1),
      "retry",
      checked,
      bad(2),
      "retry",
      "retry",
      checked,
      bad(3),
      "retry",
      checked,
      bad(4),
      "retry",
      "allow",
      "retry",
    ],
    "denied by its code": [
      young(1),
      "retry",
      checked,
      bad(2),
      "retry",
      checked,
      young(3),
      "retry",
      "allow",
      "allow",
      "retry",
      "retry",
    ],
    "the failure of before again": [bad(1), "retry", checked, bad(2), checked, bad(1), "retry", checked, bad(2), "retry"],
    "abandoned after a grant": [bad(1), "retry", left, "retry", checked, bad(2), "retry"],
    "canceled after a failure": [bad(1), closed, "retry"],
    "canceled at the limit": [bad(1), "retry", checked, bad(2), "retry", checked, bad(3), closed, "retry", "allow", "retry"],
    "canceled after what cannot succeed": [young(1), closed, "retry", "allow", "retry"],
    "canceled when abandoned": [left, closed, "retry"],
  };
  for (const [name, life] of Object.entries(lives)) {
    const p = await Pair.start(t);
    if (p === undefined) return;
    const feed = p.open({ subject: all });
    await feed.same("the first token", 1);
    for (const step of life) {
      if (step === "retry") await p.same(name, retryVerification, { sessionId: "vs_1" });
      else if (step === "allow") await p.same(name, OperatorService.method.allowRetry, { sessionId: "vs_1" });
      else await p.set(step);
      await p.everything("vs_1");
    }
    for (const sessionId of ["vs_1", "vs_1", "vs_1_replacement"]) {
      await p.same(`${name}: replace`, retryVerification, {
        sessionId,
        replaceClosed: true,
        ephemeralKeyVersion: "2026-09-30.endive",
      });
    }
    await p.set({ sessionId: "vs_1_replacement", status: CANCELED });
    await p.retries(`${name}: the replacement`, "vs_1");
    await p.everything("vs_1_replacement");
    await p.same(`${name}: person`, getStatus, { subject: byReference("person"), includePerson: true });
    for (const filter of filters) await p.pages(filter, 1);
    await p.set({ sessionId: "vs_end", status: VERIFIED });
    await feed.until(`${name}: changes`, "vs_end");
    feed.close();
  }
});
