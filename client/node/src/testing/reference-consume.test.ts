import { test } from "node:test";

import { FeedService } from "../gen/verification/v1/feed_pb.js";
import { Status } from "../gen/verification/v1/verification_pb.js";
import { Pair } from "./pair.rig.js";
import type { WatchRequest } from "./pair.rig.js";

const { acknowledgeChanges, deleteConsumer } = FeedService.method;

const consumer = (name: string, more: object = {}): WatchRequest => ({
  subject: { case: "allSessions", value: { consumer: name, ...more } },
});

test("keeps consumers as the Go fake does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const set = (status: Status): Promise<void> => p.set({ sessionId: "vs_1", status });
  const acknowledge = (name: string, resumeToken: string): Promise<unknown> =>
    p.same(`acknowledge ${resumeToken} of ${name}`, acknowledgeChanges, { consumer: name, resumeToken });
  await set(Status.REQUIRES_INPUT);
  await p.watch("must exist", 1, consumer("mail", { mustExist: true }));
  const stream = p.open(consumer("mail"));
  const first = await stream.same("the first", 1);
  await p.consumers("one consumer", "mail");
  await p.watch("busy", 1, consumer("mail"));
  await set(Status.PROCESSING);
  await set(Status.VERIFIED);
  const second = await stream.same("a change", 1);
  await p.consumers("behind", "mail");
  await acknowledge("mail", second);
  await acknowledge("mail", first);
  const third = await stream.same("another change", 1);
  await p.run({ do: "expireConsumer", consumer: "mail" });
  await p.consumers("expired", "mail");
  await p.run({ do: "holdConsumer", consumer: "mail", on: true });
  await stream.same("held", 1);
  await p.run({ do: "holdConsumer", consumer: "mail" });
  await p.watch("expired", 1, consumer("mail"));
  await p.watch("with a token", 2, { ...consumer("mail"), resumeToken: second });
  await acknowledge("mail", second);
  await p.consumers("free");
  const again = p.open(consumer("mail", { mustExist: true }));
  await again.same("again", 2);
  const another = p.open(consumer("other", { statuses: [Status.CANCELED] }));
  const others = await another.same("another one", 1);
  await set(Status.PROCESSING);
  await again.same("the change", 1); // else a heartbeat that is asked for before the change was sent does not come
  await p.run({ do: "heartbeat" });
  await again.same("a heartbeat", 1);
  await another.same("passed over", 1);
  await p.consumers("passed over", "mail", "other");
  for (const [name, token] of [
    ["mail", others],
    ["other", third],
    ["none", third],
    ["No", third],
    ["mail", ""],
    ["mail", "e30"],
  ] as const) {
    await acknowledge(name, token);
    if (name !== "No")
      await p.watch(`${name} by ${token}`, 1, { ...consumer(name, { mustExist: true }), resumeToken: token || "x" });
  }
  for (const name of ["mail", "mail", "none", "No"]) await p.same(`delete ${name}`, deleteConsumer, { consumer: name });
  await again.same("deleted", 1);
  const reborn = p.open(consumer("mail"));
  await reborn.same("reborn", 1);
  await acknowledge("mail", third);
  await p.watch("the old token", 1, { ...consumer("mail"), resumeToken: third });
  await p.run({ do: "expireTokens" });
  await acknowledge("other", others);
  for (let i = 0; i < 64; i++) await p.watch(`consumer ${i}`, 1, consumer(`c${i}`));
  await p.consumers("many", "mail", "other");
  reborn.close();
  another.close();
});
