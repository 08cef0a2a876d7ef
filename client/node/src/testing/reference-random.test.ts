import { test } from "node:test";

import { OperatorService } from "../gen/verification/v1/operator_pb.js";
import { ErrorCode, Status } from "../gen/verification/v1/verification_pb.js";
import { Pair, getStatus, retryVerification } from "./pair.rig.js";
import type { State, WatchRequest } from "./pair.rig.js";
import { byId, byReference, filters } from "./requests.rig.js";

const steps = 200;

/** Returns random whole numbers below n, always the same ones for a seed (Mulberry32). */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

const codes = [ErrorCode.DOCUMENT_EXPIRED, ErrorCode.CONSENT_DECLINED, ErrorCode.ABANDONED, ErrorCode.SELFIE_FACE_MISMATCH];

test("lives random lives as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}: repeat it with SEED=${seed}`);
  const pick = random(seed);
  const session = (): string => `vs_${pick(4)}${pick(8) === 0 ? "_replacement" : ""}`;
  const state = (): State => ({
    sessionId: session(),
    status: 1 + pick(4),
    ...(pick(2) === 0 && { lastError: { code: codes[pick(codes.length)] ?? 0 } }),
    ...(pick(3) === 0 && { lastVerificationReport: `vr_${pick(3)}` }),
    ...(pick(3) === 0 && { clientReferenceId: `person${pick(2)}` }),
    ...(pick(30) === 0 && { redaction: 1 + pick(2) }),
    ...(pick(20) === 0 && { resolution: { kind: pick(4) } }),
    ...(pick(20) === 0 && { retry: { retriesRemaining: pick(3), allowed: true } }),
    ...(pick(9) === 0 && { createTime: { seconds: BigInt(pick(9)) } }),
  });
  for (let i = 0; i < 4; i++)
    await p.set({ sessionId: `vs_${i}`, status: Status.REQUIRES_INPUT, clientReferenceId: `person${i % 2}` });
  const all = (value: object): WatchRequest => ({ subject: { case: "allSessions", value } });
  const statuses = [Status.VERIFIED, Status.REQUIRES_INPUT];
  const requests = [
    all({}),
    all({ outcomesOnly: true }),
    all({ statuses }),
    all({ outcomesOnly: true, statuses }),
    all({ consumer: "mail" }),
  ];
  const streams = requests.map((request) => p.open(request));
  for (const stream of streams) await stream.same("the first token", 1);
  for (let step = 0; step < steps; step++) {
    const [name, sessionId, reference] = [`seed ${seed}, step ${step}`, session(), `person${pick(2)}`];
    switch (pick(8)) {
      case 0:
        await p.same(name, retryVerification, { sessionId, replaceClosed: pick(2) === 0 });
        break;
      case 1:
        await p.same(name, OperatorService.method.allowRetry, { sessionId, outcomeRevision: pick(3) });
        break;
      case 2:
        await p.same(name, OperatorService.method.resolveVerification, { sessionId, kind: pick(4) });
        break;
      case 3:
        await p.pages(filters[pick(filters.length)] ?? byReference(reference), 1 + pick(3));
        break;
      default:
        await p.set(state());
    }
    await p.same(name, getStatus, { subject: byId(sessionId), includeHistory: true });
    await p.same(name, getStatus, { subject: byReference(reference), includePerson: true });
    if (pick(10) !== 0) continue;
    const before = p.open({ subject: byReference(reference) });
    const resumeToken = await before.same(name, 1);
    before.close();
    if (before.session !== "") {
      await p.set({ sessionId: before.session, status: Status.VERIFIED, lastVerificationReport: `vr_step${step}` });
      await p.watch(name, 1, { subject: byReference(reference), resumeToken });
    }
    await p.set({ sessionId: "vs_end", status: Status.VERIFIED, lastVerificationReport: `vr_step${step}` }); // passes all filters
    for (const stream of streams) await stream.until(name, "vs_end");
  }
  for (const stream of streams) stream.close();
});
