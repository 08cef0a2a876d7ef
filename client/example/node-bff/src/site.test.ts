import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrorCode, ResolutionKind, Status } from "@verification-status/client";
import { fault, stripeRefused } from "@verification-status/client/testing";
import { statusTimeout } from "./links.js";
import { sameSession, signedInFor } from "./people.js";
import { Rig } from "./rig.js";

const link = { url: "https://verify.stripe.test/start/1" }, unavailable = { problem: "UNAVAILABLE" };

test("a new person gets a session at Stripe; for all others verification-status decides", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await p.wantLink(401, { problem: "SIGNED_OUT" });
  await p.ask("GET", "/");
  rig.stripe.refuse = true;
  await p.wantLink(503, unavailable);
  rig.stripe.refuse = false;
  await p.wantLink(200, link);
  await p.wantLink(200, link); // a double click
  const [first, second] = rig.stripe.created, reference = first?.form.get("client_reference_id") ?? "";
  assert.match(reference, /^web-[0-9a-f]{32}$/);
  assert.deepEqual([first?.form.get("type"), first?.form.get("return_url")], ["document", `${rig.url}/`]);
  assert.deepEqual([first?.key, second?.key, second?.form.get("client_reference_id")], [reference, reference, reference]);

  const session = { sessionId: "vs_1", clientReferenceId: reference };
  rig.backend.set({ ...session, status: Status.REQUIRES_INPUT });
  await p.wantLink(200, { url: "https://verify.stripe.test/start/vs_1" });
  rig.backend.set({ ...session, status: Status.PROCESSING });
  await p.wantLink(409, { problem: "PROCESSING" });
  rig.backend.fail(fault("INTERNAL"));
  await p.wantLink(503, unavailable);
  rig.backend.fail(undefined);
  for (const error of [stripeRefused("no_link"), fault("STRIPE_SESSION_UNKNOWN")]) {
    rig.backend.onRetry(() => { throw error; });
    await p.wantLink(409, { problem: "REFUSED" }); // and not an invitation to click again
  }
  rig.backend.onRetry((asked) => {
    assert.deepEqual([asked.sessionId, asked.replaceClosed, asked.returnUrl], ["vs_1", true, `${rig.url}/`]);
    return { verification: { sessionId: "vs_2" }, url: "https://verify.stripe.test/new", clientSecret: "x_secret_y" };
  });
  await p.wantLink(200, { url: "https://verify.stripe.test/new" });
  assert.equal(rig.stripe.created.length, 2, "sessions, none but the first two calls'");
});

test("a person that is verified in an older session begins no other one", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await p.ask("GET", "/");
  await p.wantLink(200, link);
  const clientReferenceId = rig.stripe.created[0]?.key ?? "";
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.VERIFIED });
  for (const status of [Status.REQUIRES_INPUT, Status.CANCELED]) {
    rig.backend.set({ sessionId: "vs_2", clientReferenceId, status });
    p.changeCookie({ begun: Date.now() - 3_600_000 });
    await p.wantLink(409, { problem: "ALREADY_VERIFIED" });
  }
  assert.equal(rig.stripe.created.length, 1);
});

test("a person gets the try that an operator allowed, and none in a resolved session", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor(), { operator } = rig.backend.client();
  await p.ask("GET", "/");
  await p.wantLink(200, link);
  const clientReferenceId = rig.stripe.created[0]?.key ?? "";
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.REQUIRES_INPUT, lastError: { code: ErrorCode.UNDER_SUPPORTED_AGE } });
  await p.wantLink(409, { problem: "NOT_RETRYABLE" });
  await operator.allowRetry("vs_1");
  await p.wantLink(200, { url: "https://verify.stripe.test/start/vs_1" });
  await operator.resolve("vs_1", ResolutionKind.DECLINED);
  await p.wantLink(409, { problem: "RESOLVED" });
});

test("a page of another site can make no request in a person's name", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await p.ask("GET", "/");
  for (const headers of [{ "Sec-Fetch-Site": "cross-site" }, { "Sec-Fetch-Site": "same-site" }, { Origin: "https://evil.example" }, { Origin: "null" }]) {
    for (const path of ["/link", "/sign-out"]) {
      const { status, headers: answered } = await p.ask("POST", path, headers as unknown as Record<string, string>);
      assert.equal(status, 403, `${path} with ${JSON.stringify(headers)}`);
      assert.equal(answered["set-cookie"], undefined);
    }
  }
  assert.equal((await p.ask("GET", "/link")).status, 405);
  assert.equal(rig.stripe.created.length, 0);
  await p.wantLink(200, link);
});

test("a path that is no route is not found, and is no fault of the site", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor(), logged = t.mock.method(console, "error", () => {});
  for (const path of ["//", "//?x", "//x/link", "///events", "/\\", "/events/"]) assert.equal((await p.ask("GET", path)).status, 404, path);
  for (const path of ["//", "//x/link", "//x/sign-out"]) assert.equal((await p.ask("POST", path)).status, 405, path);
  for (const path of ["/", "/?x", "/index.html?x"]) assert.equal((await p.ask("GET", path)).status, 200, path);
  assert.equal(logged.mock.callCount(), 0);
});

test("each person sees their own status, and nothing after signing out", async (t) => {
  const rig = await Rig.start(t), ada = rig.visitor(), eve = rig.visitor();
  for (const p of [ada, eve]) {
    await p.ask("GET", "/");
    await p.wantLink(200, link);
  }
  const clientReferenceId = rig.stripe.created[0]?.key ?? "";
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.VERIFIED });
  const seen = await eve.ask("GET", `/events?client_reference_id=${clientReferenceId}&session_id=vs_1`);
  assert.match(seen.body, /event: unknown/);
  assert.doesNotMatch(seen.body, /VERIFIED/);
  assert.equal((await rig.visitor().ask("GET", "/events")).status, 401);
  const { opened } = rig.backend.streams, events = ada.ask("GET", "/events");
  await rig.backend.awaitStreams(opened + 1);
  const { status, headers } = await ada.ask("POST", "/sign-out");
  assert.deepEqual([status, headers.location], [303, "/"]);
  const { body } = await events; // of Ada's other tab
  assert.match(body, /VERIFIED[^]*event: end/);
  assert.equal((await ada.ask("GET", "/events")).status, 401);
});

test("a person can begin while the service is away, and a second click makes no second session", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  rig.backend.fail(fault("STRIPE_UNAVAILABLE"));
  await p.ask("GET", "/");
  await p.wantLink(200, link);
  await p.wantLink(200, link);
  assert.equal(new Set(rig.stripe.created.map(({ key }) => key)).size, 1);
  p.changeCookie({ begun: Date.now() - sameSession });
  await p.wantLink(503, unavailable); // else a click would be a further try
  assert.equal(rig.stripe.created.length, 2);
});

test("a call without a connection waits for one, and the person does not wait as long", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await rig.backend.stop();
  await p.ask("GET", "/");
  for (let click = 0; click < 2; click++) { // the second time there could be a status
    const start = Date.now();
    await p.wantLink(200, link);
    const took = Date.now() - start; // without a timeout of its own, the call takes 10 s
    assert.ok(took < 2 * statusTimeout - 500, `a link took ${took} ms; want ${statusTimeout} and a little`);
  }
});

test("a session that is not known yet is created once", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await p.ask("GET", "/");
  for (const ago of [0, sameSession - 60_000, sameSession + 60_000, 3_600_000]) {
    p.changeCookie({ begun: Date.now() - ago });
    await p.wantLink(200, link);
  }
  assert.equal(rig.stripe.created.length, 4);
  assert.equal(new Set(rig.stripe.created.flatMap(({ key, form }) => [key, form.get("client_reference_id")])).size, 1);
});

test("an older copy of the cookie gives no further session", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  await p.ask("GET", "/");
  const rollBack = (age: number) => p.changeCookie({ begun: 0, issued: Date.now() - age });
  await p.wantLink(200, link);
  rollBack(sameSession - 60_000);
  await p.wantLink(200, link);
  const clientReferenceId = rig.stripe.created[0]?.key ?? "";
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.PROCESSING });
  for (const age of [sameSession + 60_000, signedInFor - 60_000]) {
    rollBack(age);
    await p.wantLink(409, { problem: "PROCESSING" });
  }
  rollBack(signedInFor + 1_000);
  await p.wantLink(401, { problem: "SIGNED_OUT" });
  assert.equal(rig.stripe.created.length, 2);
});

test("a person that reads the page for an hour can begin, also while the service is away", async (t) => {
  for (const failure of [undefined, fault("STRIPE_UNAVAILABLE")]) {
    const rig = await Rig.start(t), p = rig.visitor();
    rig.backend.fail(failure);
    await p.ask("GET", "/");
    p.changeCookie({ issued: Date.now() - 3_600_000 });
    await p.wantLink(200, link);
    assert.equal(rig.stripe.created.length, 1);
  }
});
