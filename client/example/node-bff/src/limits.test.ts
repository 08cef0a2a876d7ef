import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Status } from "@verification-status/client";
import { fault } from "@verification-status/client/testing";
import { networkOf } from "./address.js";
import { BusyError, Limits, maxBuckets } from "./limits.js";
import { referenceOf } from "./people.js";
import { Rig, type Visitor } from "./rig.js";

/** newLimits returns limits with a clock that stands until the test moves it. */
function newLimits(): { limits: Limits; pass: (seconds: number) => void } {
  let now = 1;
  return { limits: new Limits(() => now), pass: (seconds) => { now += seconds * 1000; } };
}

/** waitOf returns 0 if a press was counted, else the seconds to wait. */
function waitOf(press: () => void): number {
  try {
    press();
    return 0;
  } catch (error) {
    if (error instanceof BusyError) return error.wait / 1000;
    throw error;
  }
}

test("a person has ten presses at once, and one more every 30 s", () => {
  const { limits, pass } = newLimits();
  for (let i = 0; i < 10; i++) assert.equal(waitOf(() => limits.press("ada", `192.0.2.${i}`, false)), 0, `press ${i + 1}`);
  assert.equal(waitOf(() => limits.press("ada", "192.0.2.99", false)), 30);
  assert.equal(waitOf(() => limits.press("bob", "192.0.2.99", false)), 0);
  pass(29);
  assert.equal(waitOf(() => limits.press("ada", "", false)), 1);
  pass(1);
  assert.equal(waitOf(() => limits.press("ada", "", false)), 0);
});

test("one address leaves links to others", () => {
  const { limits, pass } = newLimits();
  let links = 0;
  for (let second = 0; second < 3600; second++, pass(1)) {
    for (let i = 0; i < 20; i++) if (waitOf(() => limits.press(`attacker ${i}`, "192.0.2.1", false)) === 0) links++;
    if (second % 600 === 0) assert.equal(waitOf(() => limits.press("victim", "198.51.100.1", false)), 0);
  }
  assert.ok(links >= 100 && links <= 112, `${links} links`);
});

test("a press that the address refuses costs the person nothing", () => {
  const { limits } = newLimits();
  for (let i = 0; i < 20; i++) limits.press(`person ${i}`, "192.0.2.1", true);
  for (let i = 0; i < 100; i++) assert.ok(waitOf(() => limits.press("colleague", "192.0.2.1", false)) > 0);
  for (let i = 0; i < 10; i++) assert.equal(waitOf(() => limits.press("colleague", "198.51.100.2", false)), 0, `press ${i + 1}`);
});

test("people behind a proxy on this machine that hides their addresses do not share a limit", () => {
  const { limits } = newLimits();
  for (const address of [networkOf("127.0.0.1"), networkOf("::1"), ""]) {
    for (let i = 0; i < 50; i++) assert.equal(waitOf(() => limits.press(`${address} ${i}`, address, false)), 0, `${address} ${i}`);
  }
});

test("first presses are limited by address and in all", () => {
  const { limits, pass } = newLimits();
  let presses = 0, begins = 0;
  for (let second = 0; second < 60; second++, pass(1)) {
    for (let i = 0; i < 90; i++) {
      if (waitOf(() => limits.press(`${second} ${i}`, "192.0.2.1", true)) === 0) presses++;
      if (waitOf(() => limits.begin()) === 0) begins++;
    }
  }
  assert.deepEqual([presses, begins], [20 + 9, 50 + 590]);
});

test("the memory is bounded, and a person that pressed lately keeps their bucket", () => {
  const { limits } = newLimits();
  for (let i = 0; i < 3 * maxBuckets; i++) {
    if (i % 1000 === 0 && i < 10_000) limits.press("ada", "", false);
    if (i === 10_001) assert.equal(waitOf(() => limits.press("ada", "", false)), 30);
    limits.press(`person ${i}`, `address ${i}`, false);
  }
  assert.equal(limits.size, 3 * maxBuckets);
});

/** known returns a person that began an hour ago, and whose session can be continued. */
async function known(rig: Rig): Promise<Visitor> {
  const p = rig.visitor();
  await p.ask("GET", "/");
  const clientReferenceId = referenceOf(p.changeCookie({ begun: Date.now() - 3_600_000 }));
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.REQUIRES_INPUT });
  return p;
}

const limit = { timeout: 30_000 };

test("the 11th press of a person makes no call, and another person is served", limit, async (t: TestContext) => {
  const rig = await Rig.start(t), p = await known(rig);
  let calls = 0;
  rig.backend.onRetry(({ sessionId }) => ({ verification: { sessionId }, url: `https://verify.stripe.test/${++calls}` }));
  for (let i = 1; i <= 10; i++) await p.wantLink(200, { url: `https://verify.stripe.test/${i}` });
  const { status, body, headers } = await p.ask("POST", "/link");
  assert.deepEqual([status, body, calls], [429, '{"problem":"BUSY"}', 10]);
  assert.match(headers["retry-after"] ?? "", /^(2\d|30)$/);
  assert.equal(headers["set-cookie"], undefined);
  const other = rig.visitor();
  await other.ask("GET", "/");
  await other.wantLink(200, { url: "https://verify.stripe.test/start/1" });
});

test("sign-ups of one address are bounded", limit, async (t) => {
  const rig = await Rig.start(t), statuses = new Map<number, number>();
  for (let i = 0; i < 30; i++) {
    const p = rig.visitor();
    await p.ask("GET", "/");
    const { status } = await p.ask("POST", "/link");
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  assert.deepEqual([statuses.get(200), statuses.get(429), rig.stripe.created.length], [20, 10, 20]);
});

test("the service's limit is BUSY too", limit, async (t) => {
  const rig = await Rig.start(t), p = await known(rig);
  rig.backend.onRetry(() => { throw fault("RATE_LIMITED"); });
  const { status, body, headers } = await p.ask("POST", "/link");
  assert.deepEqual([status, body, headers["retry-after"]], [429, '{"problem":"BUSY"}', "1"]);
});
