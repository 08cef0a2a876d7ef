import { test } from "node:test";
import { inspect } from "node:util";

import { Redaction, Status } from "../gen/verification/v1/verification_pb.js";
import { Pair, listVerifications } from "./pair.rig.js";
import { all, byId, byReference } from "./requests.rig.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED, CANCELED } = Status;

test("follows and resumes as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  await p.set({ sessionId: "vs_1", status: REQUIRES_INPUT, clientReferenceId: "person" });
  const streams = [byId("vs_1"), byReference("person"), all].map((subject) => p.open({ subject }));
  const outcomes = p.open({ subject: { case: "allSessions", value: { outcomesOnly: true, statuses: [VERIFIED, CANCELED] } } });
  const next = async (name: string, counts: number[]): Promise<void> => {
    for (const [i, count] of counts.entries()) await streams[i]?.same(`${name}, stream ${i}`, count);
  };
  await next("the first", [1, 1, 1]);
  await outcomes.same("the first of outcomes", 1);
  const tokens: Record<string, string> = {};
  for (const [name, subject] of Object.entries({ vs_1: byId("vs_1"), person: byReference("person"), all })) {
    tokens[name] = await p.watch(`a token of ${name}`, 1, { subject });
  }
  await p.set({ sessionId: "vs_1", status: PROCESSING });
  await next("a change", [1, 1, 1]);
  await p.set({ sessionId: "vs_1", status: VERIFIED });
  await next("another change", [1, 1, 1]); // before a newer session: a watch by reference leaves at once
  await p.set({ sessionId: "vs_2", status: PROCESSING, clientReferenceId: "person" });
  await next("a newer session", [0, 1, 1]);
  await outcomes.same("outcomes", 1);
  for (const livemode of [false, true]) await p.set({ sessionId: "vs_9", status: CANCELED, livemode }); // the second is no outcome
  await next("another session", [0, 0, 2]);
  await outcomes.same("another outcome", 1);
  await p.run({ do: "heartbeat" });
  await next("a heartbeat", [1, 1, 1]);
  await outcomes.same("a heartbeat of outcomes", 1);
  const mangle: Record<string, (token: string) => string> = {
    whole: (token) => token,
    cut: (token) => token.slice(0, -1),
    more: (token) => `${token}A`,
    twice: (token) => token + token,
    break: (token) => `${token}\n`,
    padded: (token) => `${token}=`,
    long: (token) => token.repeat(40),
    null: () => "bnVsbA",
    nothing: () => "",
  };
  for (const [name, token] of Object.entries(tokens)) {
    for (const [how, change] of Object.entries(mangle)) {
      for (const subject of [byId("vs_1"), byId("vs_2"), byReference("person"), byReference("nobody"), all]) {
        await p.watch(`${inspect(subject)} by the ${how} token of ${name}`, 1, { subject, resumeToken: change(token) });
      }
      const filter = { case: "status", value: PROCESSING } as const;
      await p.same(`list by the ${how} token of ${name}`, listVerifications, { filter, pageToken: change(token) });
    }
  }
  await p.run({ do: "silence", on: true });
  await p.set({ sessionId: "vs_2", status: VERIFIED });
  await p.set({ sessionId: "vs_2", status: VERIFIED, redaction: Redaction.REDACTED });
  await p.run({ do: "silence" });
  await next("a redaction", [0, 1, 1]);
  await p.run({ do: "cutStreams", reason: "STREAM_EXPIRED" });
  await next("the end", [1, 1, 1]);
  await p.run({ do: "expireTokens" });
  await p.watch("an expired token", 1, { subject: byId("vs_1"), resumeToken: tokens["vs_1"] ?? "" });
});

test("leaves another person's session as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  for (const [name, life] of Object.entries({
    "for good": ["other"],
    "and gets it back": ["other", "person"],
    "for another session": ["other", "session"],
  })) {
    const sessionId = `vs_${name.replaceAll(" ", "_")}`;
    await p.set({ sessionId, status: PROCESSING, clientReferenceId: `person ${name}` });
    const stream = p.open({ subject: byReference(`person ${name}`) });
    const token = await stream.same(name, 1);
    await p.run({ do: "silence", on: true });
    for (const step of life) {
      if (step === "session") await p.set({ sessionId: `${sessionId}_2`, status: PROCESSING, clientReferenceId: `person ${name}` });
      else await p.set({ sessionId, status: VERIFIED, clientReferenceId: `${step} ${name}` });
    }
    await p.run({ do: "silence" });
    await stream.same(`${name}: changes`, 1);
    stream.close();
    await p.watch(`${name}: resumed`, 1, { subject: byReference(`person ${name}`), resumeToken: token });
  }
});
