import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { Status } from "@verification-status/client";
import { referenceOf } from "./people.js";
import { Rig } from "./rig.js";
import { linkTimeout } from "./server.js";

test("a person without a session, and a made-up cookie, cost the service nothing", async (t) => {
  const rig = await Rig.start(t);
  for (let visits = 0; visits < 20; visits++) {
    const p = rig.visitor();
    await p.ask("GET", "/");
    assert.match((await p.ask("GET", "/events")).body, /event: unknown[^]*event: live/);
  }
  assert.equal(rig.watches, 0);
  for (const value of ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ.1.1.", `ABCDEFGHIJKLMNOPQRSTUVWXYZ.1.1.${"A".repeat(43)}`]) {
    for (const [method, path] of [["GET", "/events"], ["POST", "/link"]] as const) {
      assert.equal((await rig.visitor().ask(method, path, { Cookie: `person=${value}` })).status, 401, `${path} with ${value}`);
    }
  }
});

test("every answer has the headers of safety, and the page has no inline script or style", async (t) => {
  const rig = await Rig.start(t);
  const kinds = { "/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css", "/icon.svg": "image/svg", "/missing": "text/plain", "/events": "" };
  for (const [path, kind] of Object.entries(kinds)) {
    const { headers, body, status } = await rig.visitor().ask("GET", path);
    const policy = String(headers["content-security-policy"]);
    assert.ok(policy.startsWith("default-src 'none';") && !policy.includes("unsafe"), `${path}: ${policy}`);
    assert.equal(headers["x-content-type-options"], "nosniff", path);
    assert.ok(String(headers["content-type"]).startsWith(kind), `${path}: ${headers["content-type"]}`);
    assert.doesNotMatch(body, /<script>|<style|\s(style|on\w+)="|javascript:/, path);
    assert.equal(status, { "/missing": 404, "/events": 401 }[path] ?? 200, path);
  }
});

test("the page is asked for without its body too, and no path leads out of its folder", async (t) => {
  const rig = await Rig.start(t), p = rig.visitor();
  const head = await p.ask("HEAD", "/");
  assert.deepEqual([head.status, head.body], [200, ""]);
  assert.match(p.cookie, /^person=[A-Z2-7]{26}\./);
  for (const path of ["/../people.go", "/%2e%2e/people.go", "/..%2fpeople.go", "//etc/passwd", "/static/app.js"]) {
    assert.equal((await p.ask("GET", path)).status, 404, path);
  }
  assert.equal((await p.ask("DELETE", "/")).status, 405);
});

test("cookies and the return from Stripe work at one address, to which others redirect", async (t) => {
  const rig = await Rig.start(t);
  const elsewhere = { Host: rig.url.replace("http://127.0.0.1", "localhost") };
  const page = await rig.visitor().ask("GET", "/?x=1", elsewhere);
  assert.deepEqual([page.status, page.headers.location, page.headers["set-cookie"]], [307, `${rig.url}/`, undefined]);
  assert.equal((await rig.visitor().ask("GET", "/events", elsewhere)).status, 421);
  assert.equal((await rig.visitor().ask("POST", "/link", elsewhere)).status, 421);
});

test("a request whose header or body never arrives is cut", { timeout: 30_000 }, async (t) => {
  const rig = await Rig.start(t), { timeout, keepAliveTimeout } = rig.site.server;
  assert.ok(timeout > linkTimeout && timeout <= 60_000 && keepAliveTimeout <= timeout * 3, `${timeout}, ${keepAliveTimeout}`);
  const cut = async (text: string) => {
    const socket = connect(Number(new URL(rig.url).port), "127.0.0.1");
    socket.write(text);
    socket.resume();
    await once(socket, "close");
  };
  const line = `POST /sign-out HTTP/1.1\r\nHost: ${new URL(rig.url).host}\r\n`;
  await Promise.all([cut(line), cut(`${line}Content-Length: 9\r\n\r\nx`)]);
});

test("a stop ends the streams at once, and lets a link finish", { timeout: 30_000 }, async (t) => {
  const rig = await Rig.start(t), ada = rig.visitor(), bob = rig.visitor();
  let answer = () => {};
  rig.stripe.hold = new Promise<void>((resolve) => { answer = resolve; });
  await ada.ask("GET", "/");
  const clientReferenceId = referenceOf(ada.changeCookie({ begun: Date.now() }));
  await bob.ask("GET", "/");
  rig.backend.set({ sessionId: "vs_1", clientReferenceId, status: Status.PROCESSING });
  const streamed = ada.ask("GET", "/events");
  await rig.backend.awaitStreams(1);
  let linked = false;
  const link = bob.wantLink(200, { url: "https://verify.stripe.test/start/1" }).then(() => { linked = true; });
  await rig.stripe.asked;
  const stopped = rig.site.stop();
  await streamed;
  assert.equal(linked, false, "the link ends before Stripe answers");
  answer();
  await link;
  await stopped;
});
