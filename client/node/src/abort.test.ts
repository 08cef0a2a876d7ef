import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { onAbort } from "./abort.js";
import { durationOf } from "./duration.js";
import { connect, UnauthenticatedError } from "./index.js";

const nowhere = "127.0.0.1:1";

test("a signal has no listener once nothing waits for it", () => {
  const { signal } = new AbortController();
  const [first, second] = [onAbort(signal, () => {}), onAbort(signal, () => {})];
  assert.equal(getEventListeners(signal, "abort").length, 1);
  first();
  assert.equal(getEventListeners(signal, "abort").length, 1);
  second();
  second();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("each function of a signal is called once, also one that is added again or late", () => {
  const controller = new AbortController();
  const called: string[] = [];
  onAbort(controller.signal, () => called.push("undone"))();
  onAbort(controller.signal, () => called.push("first"));
  onAbort(controller.signal, () => called.push("second"));
  controller.abort();
  onAbort(controller.signal, () => called.push("late"));
  assert.deepEqual(called, ["first", "second", "late"]);
});

test("a call whose signal has aborted, or of a closed client, leaves no rejection behind", async (t) => {
  const unhandled = t.mock.fn();
  process.on("unhandledRejection", unhandled);
  t.after(() => process.off("unhandledRejection", unhandled));
  const token = async (signal: AbortSignal): Promise<string> => {
    signal.throwIfAborted();
    return "t";
  };
  const client = connect(nowhere, { plaintext: true, token });
  client.close();
  await assert.rejects(client.status({ session: "vs_1" }), { name: "ClosedError" });
  const other = connect(nowhere, { plaintext: true });
  t.after(() => other.close());
  const reason = new Error("aborted before");
  await assert.rejects(other.status({ session: "vs_1" }, { token: "", signal: AbortSignal.abort(reason) }), reason);
  await new Promise((resolve) => setImmediate(resolve)); // unhandled rejections are reported before it
  assert.equal(unhandled.mock.callCount(), 0);
});

test("a signal ends a call at whatever moment it aborts", async (t) => {
  const client = connect(nowhere, { plaintext: true });
  t.after(() => client.close());
  const reason = new Error("the caller left");
  for (let moment = 0; moment < 12; moment++) {
    const controller = new AbortController();
    const call = client.status({ session: "vs_1" }, { signal: controller.signal });
    for (let n = 0; n < moment; n++) {
      await null;
    }
    controller.abort(reason);
    await assert.rejects(call, reason, `${moment} steps after the call began`);
  }
});

test("a token source that returns nothing ends calls and watches", async (t) => {
  const client = connect(nowhere, { plaintext: true, token: (() => undefined) as unknown as () => string });
  t.after(() => client.close());
  await assert.rejects(client.status({ session: "vs_1" }), UnauthenticatedError);
  await assert.rejects(client.waitSettled({ session: "vs_1" }), UnauthenticatedError);
});

test("a file of certificates without one is refused by connect", () => {
  for (const ca of ["", "garbage"]) {
    assert.throws(() => connect("status.example.com:50051", { tls: { ca } }), /no certificate in PEM/);
  }
});

test("a duration has at most 999,999,999 nanoseconds", () => {
  assert.deepEqual(durationOf((0.1 + 0.7) * 10_000), durationOf(8000));
  const { seconds, nanos } = durationOf(-1500.25);
  assert.deepEqual([seconds, nanos], [-1n, -500_250_000]);
});
