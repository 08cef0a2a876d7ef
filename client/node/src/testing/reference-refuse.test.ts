import { test } from "node:test";
import { inspect } from "node:util";

import { ComparisonService } from "../gen/verification/v1/comparison_pb.js";
import { OperatorService } from "../gen/verification/v1/operator_pb.js";
import { ErrorCode, ResolutionKind, Status } from "../gen/verification/v1/verification_pb.js";
import { Pair, getStatus, listVerifications, retryVerification } from "./pair.rig.js";
import type { ListFilter } from "./pair.rig.js";
import { all, byId, byReference, failed } from "./requests.rig.js";

const { VERIFIED } = Status;

test("helps and compares as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const { allowRetry, resolveVerification } = OperatorService.method;
  const { compareVerifiedOutputs } = ComparisonService.method;
  await p.run({ do: "nameCallers" });
  await p.set(failed("vs_1", 1, ErrorCode.CONSENT_DECLINED));
  await p.set({ sessionId: "vs_2", status: VERIFIED });
  await p.run({ do: "setOutputs", session: "vs_2", outputs: { firstName: "Ada", country: "NL" } });
  const ada = { "x-caller": "token:ada" };
  for (const outcomeRevision of [2, -1, 1, 0]) await p.same("allow", allowRetry, { sessionId: "vs_1", outcomeRevision }, ada);
  await p.same("retry", retryVerification, { sessionId: "vs_1" }, ada);
  for (const sessionId of ["vs_2", "vs_3", "no id"]) await p.same(`allow ${sessionId}`, allowRetry, { sessionId });
  for (const kind of [ResolutionKind.DECLINED, ResolutionKind.DECLINED, ResolutionKind.CLOSED, 0, 9]) {
    for (const outcomeRevision of [9, 0])
      await p.same(`resolve ${kind}`, resolveVerification, { sessionId: "vs_1", kind, outcomeRevision }, ada);
  }
  await p.everything("vs_1");
  const sessionId = "vs_2";
  for (const init of [
    { sessionId, firstName: "Ada", lastName: "Lovelace", country: "DE" },
    { sessionId },
    { sessionId: "vs_1", firstName: "Ada" },
    { sessionId: "vs_3", firstName: "Ada" },
    { sessionId, firstName: "-" },
    { sessionId, firstName: "٤" },
    { sessionId, firstName: "a\u0085" },
    { sessionId, lastName: "é".repeat(128) },
    { sessionId, dateOfBirth: "2001-02-29" },
    { sessionId, dateOfBirth: "2000-02-29" },
    { sessionId, dateOfBirth: "2000-2-29" },
    { sessionId, dateOfBirth: "0000-01-01" },
    { sessionId, dateOfBirth: "2000-13-01" },
    { sessionId, country: "NLD" },
    { sessionId, email: "a@b" },
    { sessionId, email: "a@b@c" },
    { sessionId, email: "a@ b" },
    { sessionId, phone: "+31201234567" },
    { sessionId, phone: "0201234567" },
    { sessionId, postalCode: "1234 AB", idNumber: "1234" },
    ...Array.from({ length: 6 }, () => ({ sessionId, firstName: "Ada" })),
  ]) {
    await p.same(`compare ${inspect(init)}`, compareVerifiedOutputs, init, ada);
  }
  await p.everything("vs_2");
});

test("refuses what the Go fake refuses", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  await p.set({ sessionId: "vs_1", status: VERIFIED, clientReferenceId: "person", account: "acct_1" });
  const ids = ["", "vs_", "pi_1", "vs_1", `vs_${"a".repeat(252)}`, `vs_${"a".repeat(253)}`, "vs_1\n", "vs_é"];
  const accounts = ["acct_1", "acct_2", "acct_", "x", `acct_${"a".repeat(251)}`];
  for (const id of ids) await p.same(`status of ${id}`, getStatus, { subject: byId(id) });
  for (const account of accounts) {
    await p.same(`status of ${account}`, getStatus, { subject: byId("vs_1"), account });
    await p.same(`person of ${account}`, getStatus, { subject: byReference("person"), account });
    await p.same(`retry of ${account}`, retryVerification, { sessionId: "vs_1", account });
  }
  for (const value of ["", "person", "nobody", "é".repeat(127), "é".repeat(128)]) {
    await p.same(`status of ${value}`, getStatus, { subject: byReference(value), includePerson: true });
    await p.same(`list of ${value}`, listVerifications, { filter: byReference(value) });
    await p.watch(`watch of ${value}`, 1, { subject: byReference(value) });
  }
  for (const init of [
    {},
    { subject: byId("vs_1"), includePerson: true },
    ...[-1, 1, 2].map((minRevision) => ({ subject: byId("vs_1"), minRevision })),
  ]) {
    await p.same(`status ${inspect(init)}`, getStatus, init);
  }
  for (const returnUrl of [
    "https://a.example/b",
    "HTTP://a",
    "ftp://a",
    "https://",
    "https:///a",
    "https:a",
    "//a",
    "/a",
    "https://a/%zz",
    "https://a/\u007f",
    "https://a b/",
    `https://a/${"b".repeat(2038)}`,
    `https://a/${"b".repeat(2039)}`,
    "https://[::1]/",
    "https://a:b/",
    " https://a/",
  ]) {
    await p.same(`return to ${returnUrl}`, retryVerification, { sessionId: "vs_1", returnUrl });
  }
  for (const ephemeralKeyVersion of ["2026-09-30.endive", "2026-09-30", "2026-09-30.", "1999-01-01", "2026-09-30.endive\n", "x"]) {
    await p.same(`a key for ${ephemeralKeyVersion}`, retryVerification, { sessionId: "vs_1", ephemeralKeyVersion });
  }
  for (const heartbeat of [
    {},
    { seconds: 1n },
    { seconds: -1n },
    { nanos: 1 },
    { seconds: 1n, nanos: -1 },
    { seconds: 315_576_000_001n },
    { nanos: 1_000_000_000 },
  ]) {
    await p.watch(`heartbeat ${heartbeat.seconds}, ${heartbeat.nanos}`, 1, { subject: byId("vs_1"), heartbeat });
    const filter = { case: "processingLongerThan", value: heartbeat } as const;
    await p.same(`processing for ${heartbeat.seconds}, ${heartbeat.nanos}`, listVerifications, { filter });
  }
  const refused: NonNullable<ListFilter>[] = [
    { case: undefined },
    ...[0, 9].map((value): NonNullable<ListFilter> => ({ case: "status", value })),
    ...[0, 8].map((value): NonNullable<ListFilter> => ({ case: "denial", value })),
  ];
  for (const filter of refused) {
    for (const pageSize of [0, -1]) await p.same(`list ${inspect(filter)}`, listVerifications, { filter, pageSize });
  }
  for (const pageSize of [-1, 1, 1000])
    await p.same(`a page of ${pageSize}`, listVerifications, { filter: byReference("person"), pageSize });
  for (const value of [
    { statuses: [0] },
    { statuses: [9] },
    { consumer: "A" },
    { consumer: "a".repeat(65) },
    { mustExist: true },
  ]) {
    await p.watch(`all ${inspect(value)}`, 1, { subject: { case: "allSessions", value } });
  }
  await p.watch("no subject", 1, {});
  await p.watch("all until settled", 1, { subject: all, untilSettled: true });
  await p.run({ do: "failNext", reason: "RATE_LIMITED" });
  await p.run({ do: "failNext", reason: "OVERLOADED" });
  for (const name of ["first", "second", "third"]) await p.same(`the ${name}`, getStatus, { subject: byId("vs_1") });
  await p.run({ do: "fail", reason: "INTERNAL" });
  await p.watch("a failing watch", 1, { subject: byId("vs_1") });
  await p.same("a failing status", getStatus, {});
});
