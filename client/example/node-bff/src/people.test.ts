import assert from "node:assert/strict";
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { mock, test } from "node:test";
import { isNew, justBegan, People, referenceOf, sameSession, signedInFor } from "./people.js";

const key = "0123456789abcdef0123456789abcdef";
const ada = { id: "A".repeat(26), issued: 1764000000_000, begun: 1764000060_000 };
// What the Go example issues for ada, without and with TLS.
const issuedByGo = {
  person: "AAAAAAAAAAAAAAAAAAAAAAAAAA.1764000000.1764000060.RVHZehGGXFOdWeZ50U1-yvisLR4J9-FHKjCJ3bfxp9A",
  "__Host-person": "AAAAAAAAAAAAAAAAAAAAAAAAAA.1764000000.1764000060.r0PHJOT0_7zZ10NUZ7vgHbb4O2TBuB2QEw1923-WMmw",
};

function requestWith(cookie: string): IncomingMessage {
  const request = new IncomingMessage(new Socket());
  request.headers.cookie = cookie;
  return request;
}

function at<T>(time: number, ask: () => T): T {
  mock.timers.enable({ apis: ["Date"], now: time });
  try {
    return ask();
  } finally {
    mock.timers.reset();
  }
}

test("the cookies are those of the Go example", () => {
  for (const [name, value] of Object.entries(issuedByGo)) {
    const people = new People(key, name !== "person");
    assert.equal(people.cookieName, name);
    assert.equal(people.cookie(ada), value);
    assert.deepEqual(at(ada.issued + 1, () => people.find(requestWith(`other=1; ${name}=${value}`))), ada);
  }
  assert.equal(referenceOf(ada), "web-06f469c97c14e84c74853bb96aa79305");
});

test("only a cookie of this site is valid, and only one", () => {
  const people = new People(key, false), good = issuedByGo.person;
  const find = (cookie: string, time = ada.issued + 1) => at(time, () => people.find(requestWith(cookie)));
  assert.deepEqual(find(`person=${good}`), ada);
  for (const bad of [
    "", "person=", "person", `person=${good}x`, `person=${good.slice(0, -1)}B`, `person=${good}; person=${good}`, `person="${good}"`,
    `person=${good.replace("AA", "BA")}`, `person=${good.replace(".1764000060", ".0")}`, `person=${issuedByGo["__Host-person"]}`,
    `__Host-person=${good}`, `xperson=${good}`, `person=${"A".repeat(26)}.1.1.${"A".repeat(43)}`,
  ]) assert.equal(find(bad), undefined, bad);
  assert.equal(new People(`${key}x`, false).find(requestWith(`person=${good}`)), undefined);
  assert.deepEqual(find(`person=${good}`, ada.issued + signedInFor - 1), ada);
  assert.equal(find(`person=${good}`, ada.issued + signedInFor), undefined);
});

test("the attributes keep a cookie on this site", () => {
  for (const secure of [false, true]) {
    const response = new ServerResponse(requestWith(""));
    new People(key, secure).signIn(response);
    const [cookie, ...attributes] = String(response.getHeader("Set-Cookie")).split("; ");
    assert.deepEqual(attributes, ["Path=/", "Max-Age=2592000", "HttpOnly", ...(secure ? ["Secure"] : []), "SameSite=Lax"]);
    const found = new People(key, secure).find(requestWith(cookie ?? ""));
    assert.equal(found?.begun, 0);
    assert.match(found?.id ?? "", /^[A-Z2-7]{26}$/);
  }
});

test("a person is new, and has just begun, for ten minutes", () => {
  const now = Date.now();
  assert.ok(isNew({ ...ada, issued: now, begun: 0 }));
  assert.ok(!isNew({ ...ada, issued: now - sameSession, begun: 0 }));
  assert.ok(!isNew({ ...ada, issued: now, begun: now }));
  assert.ok(justBegan({ ...ada, begun: now }));
  assert.ok(!justBegan({ ...ada, begun: now - sameSession }));
});

test("a sign-out ends the streams of the person, and of no other", () => {
  const people = new People(key, false), response = () => new ServerResponse(requestWith(""));
  const bob = { ...ada, id: "B".repeat(26) };
  const first = response(), [one, two, other] = [people.session(first, ada), people.session(response(), ada), people.session(response(), bob)];
  first.emit("close");
  people.signOut(response(), ada);
  assert.deepEqual([one, two, other].map((signal) => signal.aborted), [false, true, false]);
});
