// The tests of static/app.js, with a fake document. app_test.go runs them.
import assert from "node:assert/strict";
import { mock } from "node:test";

const elements = {};
const element = (id) => elements[id] ??= {
  id, dataset: {}, attributes: {}, hidden: false, textContent: "", listeners: {},
  setAttribute(name, value) { this.attributes[name] = value; },
  removeAttribute(name) { delete this.attributes[name]; },
  getAttribute(name) { return this.attributes[name] ?? null; },
  addEventListener(name, react) { this.listeners[name] = react; },
  focus() {},
};
const body = element("body"), go = element("go"), notice = element("notice");
const streams = [];
class Source {
  static CLOSED = 2;
  listeners = {};
  constructor() { streams.push(this); this.readyState = 1; }
  addEventListener(name, react) { this.listeners[name] = react; }
  close() { this.readyState = Source.CLOSED; }
  say(name, data = {}) { this.listeners[name]?.({ data: JSON.stringify(data) }); }
  refuse() { this.readyState = Source.CLOSED; this.say("error"); }
}
const heard = {};
let fetched = async () => ({ ok: true });
const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
define("document", { getElementById: element, querySelectorAll: () => [], documentElement: {}, body, hidden: false, addEventListener: (name, react) => { heard[name] = react; } });
define("navigator", { languages: ["en"], onLine: true });
define("location", { assign() {}, reload() {} });
define("EventSource", Source);
define("BroadcastChannel", class { postMessage() {} });
define("fetch", (...all) => fetched(...all));
define("addEventListener", (name, react) => { heard[name] = react; });
mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
const settle = async () => { for (let i = 0; i < 20; i++) await null; };
const pass = async (ms) => { for (; ms > 0; ms -= 500) { mock.timers.tick(500); await settle(); } };
const last = () => streams.at(-1);

await import("./static/app.js");
assert.equal(body.dataset.connection, "connecting");

// "live" without a status is not shown as live, and the person gets words and a button.
for (let i = 0; i < 9; i++) { last().say("live"); await pass(1_000); }
assert.notEqual(body.dataset.connection, "live");
assert.equal(element("title").textContent, "This takes longer than it should");
assert.equal(go.textContent, "Try again now");
assert.equal(go.hidden, false);
last().say("live");
assert.notEqual(body.dataset.connection, "live", "the page that says it cannot look it up");
last().say("unknown");
last().say("live");
assert.equal(body.dataset.connection, "live");
assert.equal(go.textContent, "Start verification");
assert.equal(notice.hidden, true);

// The button is enabled again: when the page is shown again, with the same status, and after a while.
const press = async () => { go.listeners.click(); await settle(); };
const waits = () => go.attributes["aria-disabled"] === "true";
fetched = async () => ({ ok: true, json: async () => ({ url: "https://verify.stripe.test/1" }) });
for (const [how, back] of [
  ["comes back", () => heard.visibilitychange()],
  ["gets the same status", () => last().say("unknown")],
  ["stays for 10 s", async () => { for (let i = 0; i < 10; i++) { assert.ok(waits(), `after ${i} s`); last().say("live"); await pass(1_000); } }],
]) {
  await press();
  assert.ok(waits(), "the pressed button");
  assert.equal(go.textContent, "One moment…");
  await back();
  assert.ok(!waits(), `the button of a page that ${how}`);
  assert.equal(go.textContent, "Start verification");
  await pass(11_000);
}
let answer;
fetched = () => new Promise((resolve) => { answer = resolve; });
await press();
last().say("unknown");
heard.visibilitychange();
assert.ok(waits(), "the button while /link is under way");
answer({ json: async () => ({ problem: "UNAVAILABLE" }) });
await settle();
assert.ok(!waits());

// The page names cookies as the cause after the second refusal only, and if its server answers.
const blamed = () => notice.textContent.includes("needs cookies");
const refuse = async (head) => { fetched = head; last().refuse(); await settle(); const n = streams.length; await pass(3_500); assert.ok(streams.length > n, "the page follows again"); };
last().say("live");
await refuse(async () => ({ ok: true }));
assert.ok(!blamed(), "after one refusal");
last().say("open");
await refuse(async () => ({ ok: false }));
await refuse(async () => { throw new Error("offline"); });
await refuse(async () => ({ ok: true }));
assert.ok(!blamed(), "of a server that did not answer");
await refuse(async () => ({ ok: true }));
assert.ok(blamed(), notice.textContent);
last().say("open");
last().say("unknown");
last().say("live");
assert.equal(notice.hidden, true);

// A press too many is answered in words, and the button works. The page asks for no further stream, which would be one more request.
const before = streams.length;
fetched = async () => ({ ok: false, status: 429, json: async () => ({ problem: "BUSY" }) });
await press();
assert.match(element("problem").textContent, /please wait a few minutes, and try again/);
assert.equal(element("problem").hidden, false);
assert.ok(!waits());
last().say("unknown");
last().say("live");
assert.equal(element("problem").hidden, false, "the problem after the next event");
assert.equal(streams.length, before);
fetched = async () => ({ ok: true, json: async () => ({ url: "https://verify.stripe.test/2" }) });
await press();
assert.equal(element("problem").hidden, true);
await pass(11_000);

// A person that is verified in an older session reads that, and no longer the status of the newest session.
const open = { status: "STATUS_REQUIRES_INPUT", retry: { allowed: true } };
last().say("status", open);
last().say("live");
assert.equal(go.textContent, "Continue");
fetched = async () => ({ ok: false, json: async () => ({ problem: "ALREADY_VERIFIED" }) });
await press();
for (const again of [() => {}, () => last().say("status", open), () => last().say("unknown")]) {
  again();
  assert.equal(element("title").textContent, "You’re verified");
  assert.equal(element("fact").hidden, true);
  assert.equal(element("problem").hidden, true);
  assert.equal(go.hidden, true);
}
last().say("status", { status: "STATUS_VERIFIED", updateTime: "2026-01-02T03:04:05Z" });
assert.match(element("fact-text").textContent, /2026/);

last().say("busy");
assert.match(notice.textContent, /open too often from here/);
process.exit(0);
