import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { Status } from "@verification-status/client";
import { fault } from "@verification-status/client/testing";
import { referenceOf } from "./people.js";
import { Rig, type Visitor } from "./rig.js";

const limit = { timeout: 30_000 };

/** PressRig is a site and links that verification-status gives once they are released. */
class PressRig {
  /** The calls of RetryVerification. */
  calls = 0;
  release = () => {};

  private constructor(readonly rig: Rig) {}

  static async start(t: TestContext, fail = false): Promise<PressRig> {
    const w = new PressRig(await Rig.start(t));
    const released = new Promise<void>((resolve) => { w.release = resolve; });
    w.rig.backend.onRetry(async ({ sessionId }) => {
      const url = `https://verify.stripe.test/${sessionId}/${++w.calls}`;
      await released;
      if (fail) throw fault("INTERNAL");
      return { verification: { sessionId }, url };
    });
    return w;
  }

  /** known returns a person that began an hour ago, and whose session can be continued. */
  async known(sessionId: string): Promise<Visitor> {
    const p = this.rig.visitor();
    await p.ask("GET", "/");
    const clientReferenceId = referenceOf(p.changeCookie({ begun: Date.now() - 3_600_000 }));
    this.rig.backend.set({ sessionId, clientReferenceId, status: Status.REQUIRES_INPUT });
    return p;
  }

  /** press presses the button once for each of these cookies, and returns when the site works on all of them. */
  async press(...cookies: string[]): Promise<{ answers: Promise<[number, string]>[] }> {
    const arrived = this.arrived(cookies.length);
    const answers = cookies.map(async (cookie): Promise<[number, string]> => {
      const { status, body } = await this.rig.visitor().ask("POST", "/link", { Cookie: cookie });
      return [status, body];
    });
    await arrived;
    return { answers };
  }

  /** arrived waits for n requests. The site's own listener has already begun to work on each of them. */
  arrived(n: number): Promise<void> {
    return new Promise((resolve) => {
      this.rig.site.server.on("request", () => { if (--n === 0) resolve(); });
    });
  }
}

test("presses at the same time share a link, and a later one is new", limit, async (t) => {
  const w = await PressRig.start(t), { cookie } = await w.known("vs_1");
  const { answers } = await w.press(...Array<string>(100).fill(cookie));
  w.release();
  for (const answer of answers) assert.deepEqual(await answer, [200, '{"url":"https://verify.stripe.test/vs_1/1"}']);
  const { answers: [later] } = await w.press(cookie);
  assert.deepEqual(await later, [200, '{"url":"https://verify.stripe.test/vs_1/2"}']);
  assert.equal(w.calls, 2);
});

test("the first press can leave without its work ending", limit, async (t) => {
  const w = await PressRig.start(t), { cookie } = await w.known("vs_1"), { host, port } = new URL(w.rig.url);
  const gone = new Promise((resolve) => w.rig.site.server.once("request", (_, response) => response.once("close", resolve)));
  const arrived = w.arrived(1), first = connect(Number(port), "127.0.0.1");
  first.write(`POST /link HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n\r\n`);
  await arrived;
  const { answers: [second] } = await w.press(cookie);
  first.destroy();
  await Promise.all([once(first, "close"), gone]);
  w.release();
  assert.deepEqual(await second, [200, '{"url":"https://verify.stripe.test/vs_1/1"}']);
  assert.equal(w.calls, 1);
});

test("people share no link", limit, async (t) => {
  const w = await PressRig.start(t), { answers } = await w.press((await w.known("vs_1")).cookie, (await w.known("vs_2")).cookie);
  w.release();
  const got = (await Promise.all(answers)).map(([, body]) => /vs_\d/.exec(body)?.[0]);
  assert.deepEqual([got, w.calls], [["vs_1", "vs_2"], 2]);
});

test("a shared failure is logged once", limit, async (t) => {
  const w = await PressRig.start(t, true), { cookie } = await w.known("vs_1"), logged = t.mock.method(console, "error", () => {});
  const { answers } = await w.press(...Array<string>(100).fill(cookie));
  w.release();
  for (const answer of answers) assert.deepEqual(await answer, [503, '{"problem":"UNAVAILABLE"}']);
  assert.equal(logged.mock.callCount(), 1);
});
