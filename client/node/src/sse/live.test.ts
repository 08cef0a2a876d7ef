import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerInterceptingCall, ServerListenerBuilder } from "@grpc/grpc-js";
import type { ServerInterceptor } from "@grpc/grpc-js";

import { Status } from "../gen/verification/v1/verification_pb.js";
import type { Browser } from "./browser.rig.js";
import { defaultTimes } from "./options.js";
import { Site, byQuery } from "./site.rig.js";
import type { SiteOptions } from "./site.rig.js";

const { REQUIRES_INPUT, PROCESSING } = Status;
const hour = 3_600_000;

const levels = (site: Site): string[] => site.logged.map((line) => line.slice(0, 4));

test("is live only while the service answers", async (t) => {
  const site = await Site.start(t, { times: { live: hour } }); // nothing but the watch says stale
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status", '"revision":1');
  await b.wantLive();
  site.backend.heartbeat();
  await b.wantLive();
  await site.backend.stop();
  await b.want("stale");
  site.set(PROCESSING);
  await site.backend.start();
  await b.wantNotStale("status");
  await b.wantLive();
});

test("is stale when the service falls silent", async (t) => {
  const site = await Site.start(t, { times: { live: 50 } });
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.wantNotStale("status"); // a slow machine can be silent for a while
  site.backend.silence(true);
  const began = performance.now();
  await b.want("stale");
  assert(performance.now() - began < 10_000, "stale only when the watch gave up");
  await b.want("stale"); // again and again: the page knows from it that this program is there
  site.backend.silence(false);
  site.set(PROCESSING);
  await b.wantNotStale("status");
  await b.wantLive();
});

test("is stale while the service is away, and logs that once", async (t) => {
  const site = await Site.start(t, { maxStreams: 30, times: { live: 50 } });
  site.set(REQUIRES_INPUT);
  await site.backend.stop();
  const browsers: Browser[] = [];
  for (let i = 0; i < 20; i++) browsers.push(await site.browser());
  for (const b of browsers) {
    await b.want("stale");
    assert.equal(b.lives, 0, "live without the service");
  }
  await browsers[0]?.want("stale");
  await site.close();
  assert.deepEqual(levels(site), ["WARN"], site.logged.join("\n"));
});

test("makes one call for all users without a session", async (t) => {
  const calls: string[] = [];
  const count: ServerInterceptor = (method, call) => {
    if (method.path.startsWith("/verification.v1.")) calls.push(method.path);
    return new ServerInterceptingCall(call);
  };
  const site = await Site.start(t, { times: { live: hour }, fake: { interceptors: [count] }, authorize: byQuery });
  for (const user of "abcdefghijklmnopqrstuvwxyz") {
    const b = await site.browser(`?user=${user}`);
    await b.want("unknown");
    await b.wantLive();
    await b.wantEnd();
    b.wantRetry(5_000, 10_000);
  }
  assert.deepEqual(calls, ["/verification.v1.VerificationService/GetStatus"]);
});

test("is stale for a user without a session while the service is away", async (t) => {
  const site = await Site.start(t, { times: { live: 1, reach: 300 }, authorize: () => ({ user: "ada" }) });
  await site.backend.stop();
  const b = await site.browser();
  for (let i = 0; i < 2; i++) {
    // the second time nothing is logged
    await b.connect();
    await b.want("unknown");
    await b.want("stale");
    await b.wantEnd();
  }
  await site.backend.start();
  const deadline = Date.now() + 20_000;
  while (b.lives === 0) {
    assert(Date.now() < deadline, "never live again");
    await b.connect();
    await b.want("unknown");
    await b.next();
  }
  await site.close();
  assert.deepEqual(levels(site), ["WARN", "INFO"], site.logged.join("\n"));
});

test("is stale for a user without a session behind a dead service", async (t) => {
  let isDead = false;
  const swallow: ServerInterceptor = (_, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => next(new ServerListenerBuilder().withOnReceiveHalfClose((done) => isDead || done()).build()),
    });
  const times = { live: 0, reach: 1_500 }; // no answer is fresh at the next connection
  const site = await Site.start(t, { times, fake: { interceptors: [swallow] }, authorize: () => ({ user: "ada" }) });
  const b = await site.browser();
  await b.want("unknown");
  await b.wantLive();
  isDead = true; // the connection is open, and nothing answers on it
  await b.connect();
  await b.want("unknown");
  await b.want("stale");
});

test("ends a stream at its greatest age", async (t) => {
  const site = await Site.start(t);
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status", '"revision":1');
  Object.assign(site.bridge.times, { age: 1 });
  await b.connect();
  await b.wantEnd();
  b.wantRetry(500, 1_000);
  Object.assign(site.bridge.times, defaultTimes);
  site.set(PROCESSING);
  await b.connect();
  await b.want("status", '"revision":2'); // from where it was
});

/** Starts a site that takes user and address from the request, and returns what opens a stream that is served. */
async function slotsSite(
  options: SiteOptions,
  t: Parameters<typeof Site.start>[0],
): Promise<[Site, (user: string, address?: string) => Promise<Browser>]> {
  const site = await Site.start(t, { ...options, authorize: byQuery });
  site.set(REQUIRES_INPUT);
  const open = async (user: string, address = ""): Promise<Browser> => {
    const b = await site.browser(`?session=vs_1&user=${user}&address=${address}`);
    await b.want("status");
    return b;
  };
  return [site, open];
}

const displaced = async (b: Browser): Promise<void> => {
  await b.want("busy");
  await b.wantEnd();
  assert.equal(b.response.status, 200);
  b.wantRetry(30_000, 60_000);
};

test("replaces the oldest stream by the newest", async (t) => {
  const [, open] = await slotsSite({ maxStreams: 2 }, t);
  const first = await open("ada");
  const second = await open("ada");
  await open("ada");
  await displaced(first);
  await open("bob"); // another user's
  await open("ada");
  await displaced(second);
});

test("shuts no user out", async (t) => {
  const [, open] = await slotsSite({ maxStreams: 2, maxStreamsPerAddress: 3, maxStreamsTotal: 5 }, t);
  const [a1, a2, b1] = [await open("a", "one"), await open("a", "one"), await open("b", "one")];
  const c1 = await open("c", "one");
  await displaced(a1);
  const d1 = await open("d", "one"); // one stream each: the oldest
  await displaced(a2);
  await open("e", "two");
  await open("f"); // an address that is not known is not bounded
  await open("g", "three"); // all are five: the oldest
  await displaced(b1);
  await open("c", "one"); // c has the most with the new one
  await displaced(c1);
  await open("h", "four");
  await displaced(d1);
});

test("keeps no person from beginning", async (t) => {
  const [site, open] = await slotsSite({ maxStreamsTotal: 1 }, t);
  const ada = await open("ada");
  const fresh = await site.browser("?user=new"); // has no subject
  await fresh.want("unknown");
  await fresh.wantLive();
  site.set(PROCESSING);
  await ada.want("status", '"revision":2');
});
