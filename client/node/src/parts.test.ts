import assert from "node:assert/strict";
import { test } from "node:test";

import { link, onAbort, sleep } from "./abort.js";
import { FullJitter } from "./backoff.js";
import { iterable } from "./iterable.js";
import { Lock } from "./lock.js";
import { rejection, within } from "./help.rig.js";
import { keyOf, Recent } from "./recent.js";
import { Repeats } from "./repeats.js";
import { UnavailableError } from "./errors.js";
import { decodeDetails, encodeDetails } from "./status-details.js";
import { room } from "./stream-limit.js";
import { create } from "@bufbuild/protobuf";
import { VerificationSchema } from "./gen/verification/v1/verification_pb.js";

test("the ceiling of a backoff doubles up to max, and waits are below it", () => {
  const backoff = new FullJitter(500, 3000);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 1000].map((n) => backoff.ceiling(n)),
    [500, 1000, 2000, 3000, 3000, 3000],
  );
  for (let i = 0; i < 1000; i++) {
    const [random, late] = [backoff.random(2), backoff.late(2)];
    assert.ok(random >= 0 && random <= 1000 && late >= 1000 / 3 && late <= 1000, `${random} ${late}`);
  }
});

test("a linked controller aborts with its parents, and once", () => {
  const [a, b] = [new AbortController(), new AbortController()];
  const linked = link(a.signal, undefined, b.signal);
  b.abort("b");
  a.abort("a");
  assert.equal(linked.signal.reason, "b");
  assert.equal(link(a.signal).signal.reason, "a");
  const other = new AbortController();
  const unlinked = link(other.signal);
  unlinked.unlink();
  other.abort();
  assert.equal(unlinked.signal.aborted, false);
});

test("a thousand functions wait for one signal without a warning", async () => {
  const warnings: Error[] = [];
  const warn = (warning: Error): number => warnings.push(warning);
  process.on("warning", warn);
  const { signal, abort } = link();
  let calls = 0;
  const undo = Array.from({ length: 1000 }, () => onAbort(signal, () => calls++));
  undo[0]?.();
  abort("over");
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", warn);
  assert.deepEqual([calls, warnings], [999, []]);
});

test("sleep ends early when its signal aborts", async () => {
  const controller = new AbortController();
  const sleeping = sleep(controller.signal, 60_000);
  controller.abort();
  assert.equal(await within("the sleep", sleeping), false);
  assert.equal(await sleep(controller.signal, 60_000), false);
  assert.equal(await sleep(new AbortController().signal, 1), true);
});

test("a lock is held by one, in order, and a caller can give up", async () => {
  const lock = new Lock();
  const { signal } = new AbortController();
  const order: number[] = [];
  const release = await lock.acquire(signal);
  const impatient = new AbortController();
  const gaveUp = rejection(lock.acquire(impatient.signal));
  const others = [1, 2, 3].map(async (n) => {
    const release = await lock.acquire(signal);
    order.push(n);
    await null;
    release();
  });
  impatient.abort("late");
  assert.equal(await gaveUp, "late");
  release();
  await within("the others", Promise.all(others));
  assert.deepEqual(order, [1, 2, 3]);
  (await within("the free lock", lock.acquire(signal)))();
});

test("the set of handled changes keeps the newest", () => {
  const recent = new Recent(2);
  for (const key of ["a", "b", "a", "c"]) {
    recent.add(key);
  }
  assert.deepEqual(
    ["a", "b", "c"].map((key) => recent.has(key)),
    [false, true, true],
  );
});

test("a change is another one if its content differs, an outcome if its name differs", () => {
  const v = { sessionId: "vs_1", revision: 2, outcomeRevision: 1, outcomeId: "o" };
  const [a, b] = [create(VerificationSchema, v), create(VerificationSchema, { ...v, revision: 3, clientReferenceId: "x" })];
  assert.equal(keyOf(a, true), keyOf(b, true));
  assert.notEqual(keyOf(a, false), keyOf(b, false));
  assert.notEqual(keyOf(a, true), keyOf(create(VerificationSchema, { ...v, outcomeId: "p" }), true));
  assert.equal(keyOf(a, false), keyOf(create(VerificationSchema, v), false));
});

test("calls are no longer repeated in an outage, until calls succeed", () => {
  const repeats = new Repeats();
  const error = new UnavailableError({ code: "UNAVAILABLE", message: "" });
  const waits = Array.from({ length: 12 }, () => repeats.waitAfter(error, 1) !== undefined);
  assert.deepEqual(waits, [...Array(9).fill(true), false, false, false]);
  assert.equal(repeats.waitAfter(new Error(), 1), undefined);
  for (let i = 0; i < 20; i++) {
    repeats.succeeded();
  }
  assert.ok(repeats.waitAfter(error, 1) !== undefined);
  assert.equal(repeats.waitAfter(error, 4), undefined);
});

test("details of a status survive their encoding", () => {
  const details = { info: { reason: "R", domain: "d", metadata: { a: "1", __proto__x: "2", ü: "ö" } }, retryAfter: 61_001.5 };
  assert.deepEqual(decodeDetails(encodeDetails(14, "text", details)), details);
  assert.deepEqual(decodeDetails(encodeDetails(14, "text", {})), {});
  assert.deepEqual(decodeDetails(new Uint8Array([0x1a, 0xff])), {});
});

test("a connection leaves room for the health watch and for unary calls", () => {
  assert.deepEqual(
    [1, 2, 10, 100, 128].map((n) => [room(n, true), room(n, false)]),
    [
      [1, 1],
      [1, 1],
      [8, 9],
      [89, 99],
      [115, 127],
    ],
  );
});

test("an iterable that was left before it began has no step", async () => {
  let runs = 0;
  const loop = iterable([], async function* () {
    runs++;
    yield 1;
  })[Symbol.asyncIterator]();
  await loop.return?.();
  assert.deepEqual([await loop.next(), runs], [{ done: true, value: undefined }, 0]);
});

test("an iterable throws what its generator throws, once", async () => {
  const loop = iterable([], async function* () {
    yield 1;
    throw new Error("broken");
  })[Symbol.asyncIterator]();
  await loop.next();
  assert.match(String(await rejection(loop.next())), /broken/);
  assert.deepEqual(await loop.next(), { done: true, value: undefined });
});
