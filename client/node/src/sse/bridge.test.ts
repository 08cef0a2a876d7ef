import assert from "node:assert/strict";
import { test } from "node:test";

import { status as grpcStatus } from "@grpc/grpc-js";

import type { Client } from "../client.js";
import { Status } from "../gen/verification/v1/verification_pb.js";
import { Fault, fault } from "../testing/index.js";
import { eventStreams } from "./index.js";
import type { Viewer } from "./index.js";
import { Site, byQuery } from "./site.rig.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED } = Status;

test("streams changes", async (t) => {
  const site = await Site.start(t);
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  for (const [name, want] of Object.entries({
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
    "access-control-allow-origin": null,
  })) {
    assert.equal(b.response.headers.get(name), want, name);
  }
  await b.want("status", '"status":"STATUS_REQUIRES_INPUT"', '"revision":1');
  b.wantRetry(2_000, 4_000);
  await b.wantLive();
  site.backend.cutStreams();
  await b.want("stale");
  site.set(PROCESSING);
  await b.want("status", '"status":"STATUS_PROCESSING"', '"revision":2');
  await b.wantLive();
});

test("resumes where the browser was", async (t) => {
  const site = await Site.start(t);
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status", '"revision":1');
  b.close();
  site.set(PROCESSING);
  site.set(VERIFIED);
  await b.connect();
  await b.want("status", '"revision":2');
  await b.want("status", '"revision":3', '"settled":true');
  await b.wantLive();
  const old = b.lastEventId;
  site.backend.expireTokens();
  site.backend.heartbeat();
  await b.wantLive(); // with a younger token
  assert.notEqual(b.lastEventId, old);
  await b.connect();
  site.set(PROCESSING);
  await b.want("status", '"revision":4'); // and no reset: the new id is good
});

test("begins again with a reset by a token that is no good", async (t) => {
  const site = await Site.start(t);
  site.set(REQUIRES_INPUT);
  site.backend.set({ sessionId: "vs_2", status: REQUIRES_INPUT });
  let another = "";
  for await (const update of site.backend.client().watch({ session: "vs_2" })) {
    another = update.resumeToken;
    break;
  }
  const b = await site.browser();
  await b.want("status", '"revision":1');
  let revision = 1;
  const tokens = {
    "an expired one": b.lastEventId,
    another,
    nonsense: "nonsense",
    "too long": "x".repeat(2049),
    "not URL-safe": "a b",
  };
  for (const [name, token] of Object.entries(tokens)) {
    t.diagnostic(name);
    if (name === "an expired one") site.backend.expireTokens();
    b.lastEventId = token;
    await b.connect();
    await b.want("reset");
    await b.want("status", `"revision":${revision}`);
    revision++;
    site.set(revision % 2 === 0 ? PROCESSING : REQUIRES_INPUT);
    await b.want("status", `"revision":${revision}`); // the reset came once
  }
});

test("asks for an unknown session again", async (t) => {
  const site = await Site.start(t);
  const b = await site.browser();
  await b.want("unknown");
  await b.wantLive();
  await b.wantEnd();
  assert.equal(b.response.status, 200);
  b.wantRetry(5_000, 10_000);
  site.set(REQUIRES_INPUT);
  await b.connect();
  await b.want("status", '"revision":1');
});

test("asks a service that refuses again later", async (t) => {
  const site = await Site.start(t);
  site.backend.fail(fault("PERMISSION_DENIED"));
  const b = await site.browser();
  await b.want("stale");
  await b.wantEnd();
  assert.equal(b.response.status, 200);
  assert.equal(b.lives, 0);
  b.wantRetry(30_000, 60_000);
  assert.match(site.logged.join("\n"), /^ERROR .*PERMISSION_DENIED/);
});

test("takes an error that is not the service's as an interruption", async (t) => {
  const site = await Site.start(t);
  const b = await site.browser();
  await b.want("unknown");
  for (const code of [grpcStatus.PERMISSION_DENIED, grpcStatus.NOT_FOUND]) {
    site.backend.fail(new Fault(code, "a proxy's"));
    b.lives = 0;
    await b.connect();
    await b.want("stale");
    await b.wantEnd();
    assert.equal(b.lives, 0);
    b.wantRetry(2_000, 4_000);
  }
  site.backend.fail(undefined);
  site.set(REQUIRES_INPUT);
  await b.connect();
  await b.want("status");
  await site.close();
  assert.deepEqual(
    site.logged.filter((line) => !line.startsWith("INFO")).map((line) => line.slice(0, 4)),
    ["WARN"],
    site.logged.join("\n"),
  );
});

test("asks for a subject that cannot be watched again later, and says so", async (t) => {
  const subjects = [
    { session: "vs_1", reference: "person" },
    { reference: "\ud800" },
    { session: Symbol("vs_1") },
    { reference: "" },
  ];
  for (const subject of subjects) {
    const site = await Site.start(t, { authorize: () => ({ user: "ada", subject: subject as never }) });
    const b = await site.browser();
    await b.want("stale");
    await b.wantEnd();
    b.wantRetry(30_000, 60_000);
    assert.equal(site.logged.length, 1, site.logged.join("\n"));
    assert.match(site.logged[0] ?? "", /^ERROR sse: a watch has ended/);
  }
});

test("takes null for no subject yet", async (t) => {
  const site = await Site.start(t, { authorize: () => ({ user: "ada", subject: null as never }) });
  const b = await site.browser();
  await b.want("unknown");
  await b.wantLive();
  await b.wantEnd();
  assert.deepEqual(site.logged, []);
});

test("takes a closed client and an invalid request of a proxy as interruptions", async (t) => {
  const site = await Site.start(t);
  site.backend.fail(new Fault(grpcStatus.INVALID_ARGUMENT, "a proxy's"));
  const b = await site.browser();
  for (let i = 0; i < 2; i++) {
    await b.want("stale");
    await b.wantEnd();
    b.wantRetry(2_000, 4_000);
    (site.bridge.client as Client).close();
    await b.connect();
  }
  assert.deepEqual(
    site.logged.map((line) => line.slice(0, 4)),
    ["WARN"],
    site.logged.join("\n"),
  );
});

test("logs a verification that cannot be encoded, and asks for it again", async (t) => {
  const site = await Site.start(t);
  site.backend.set({ sessionId: "vs_1", status: VERIFIED, updateTime: { seconds: 10n ** 15n, nanos: 0 } });
  const b = await site.browser();
  await b.wantEnd();
  assert.equal(b.lives, 0);
  b.wantRetry(2_000, 4_000);
  assert.match(site.logged.join("\n"), /^ERROR sse: a verification cannot be encoded vs_1 .*Timestamp[^\n]*$/);
});

test("answers other than with a stream", async (t) => {
  const site = await Site.start(t, { authorize: byQuery });
  for (const [query, method, status, body] of [
    ["?user=ada&session=vs_1", "POST", 405, "only GET streams events\n"],
    ["", "GET", 401, "not signed in\n"],
    ["?forbidden", "GET", 403, "forbidden\n"],
  ] as const) {
    const response = await fetch(site.url + query, { method });
    assert.equal(response.status, status);
    assert.equal(await response.text(), body);
    assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8");
    assert.equal(response.headers.get("allow"), status === 405 ? "GET" : null);
  }
  const failed = await fetch(`${site.url}?fault`);
  assert.equal(failed.status, 200);
  assert.match(await failed.text(), /^retry: \d+\n\n$/);
  assert.match(site.logged.join("\n"), /^ERROR .*database/);
});

test("refuses a program that names no user", async (t) => {
  for (const viewer of [{ user: "", subject: { session: "vs_1" } }, undefined as never]) {
    const site = await Site.start(t, { authorize: () => viewer });
    const response = await fetch(site.url);
    assert.equal(response.status, 500);
    assert.match(site.logged.join("\n"), /^ERROR .*no user/);
  }
  const options = { client: (await Site.start(t)).bridge.client, authorize: () => "forbidden" as const };
  assert.throws(() => eventStreams({ ...options, maxStreams: 0 }), /^RangeError: maxStreams is 0/);
});

const broken = (): never => {
  throw new Error("the logger failed");
};
const brokenLogger = { info: broken, warn: broken, error: broken };

test("streams also if the logger throws", async (t) => {
  let isFailing = false;
  const authorize = (): Viewer => (isFailing ? broken() : { user: "ada", subject: { session: "vs_1" } });
  const site = await Site.start(t, { logger: brokenLogger, authorize });
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status");
  site.backend.cutStreams();
  await b.want("stale");
  site.set(PROCESSING);
  await b.want("status");
  isFailing = true;
  await b.connect();
  await b.wantEnd();
  assert.equal(b.response.status, 200);
});

test("answers a user without a session also if the logger throws", async (t) => {
  const site = await Site.start(t, { logger: brokenLogger, authorize: () => ({ user: "ada" }) });
  (site.bridge.client as Client).close();
  const b = await site.browser();
  await b.want("unknown");
  await b.want("stale");
  await b.wantEnd();
});
