import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "./feed.rig.js";
import { connectTo, eventually, startServer, within } from "./help.rig.js";
import { Failure } from "./server.rig.js";

/** Returns a generator of numbers from 0 to below 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("under random faults every outcome is handled, in order, before it is acknowledged", async (t) => {
  for (let i = 0; i < 20; i++) {
    const seed = Math.floor(Math.random() * 2 ** 32);
    await t.test(`seed ${seed}`, async (t) => {
      const random = randomFrom(seed);
      const feed = new Feed();
      const server = await startServer(t, feed.behaviour());
      const client = connectTo(t, server.target);
      const handled = new Set<string>();
      const lastOf = new Map<string, number>();
      const problems: string[] = [];
      const check = (): void => {
        const position = feed.position;
        for (const change of feed.changes.slice(0, position)) {
          if (!handled.has(`${change.sessionId}/${change.revision}`)) {
            problems.push(`position ${position} is acknowledged, ${change.sessionId}/${change.revision} is not handled`);
          }
        }
      };
      const end = new AbortController();
      const options = {
        signal: end.signal,
        workers: 1 + Math.floor(random() * 4),
        maxHeld: 5 + Math.floor(random() * 30),
        acknowledgeEach: random() < 0.5,
      };
      const done = client.consume(
        "mailer",
        async ({ verification }) => {
          const { sessionId, revision } = verification;
          await new Promise((resolve) => setTimeout(resolve, random() * 3));
          const last = lastOf.get(sessionId) ?? 0;
          if (revision > last + 1) {
            problems.push(`${sessionId}/${revision} is handled after ${last}`);
          }
          lastOf.set(sessionId, Math.max(last, revision));
          handled.add(`${sessionId}/${revision}`);
          check();
        },
        options,
      );
      const revisions = [0, 0, 0, 0, 0];
      for (let step = 0; step < 120; step++) {
        const session = Math.floor(random() * revisions.length);
        feed.add(`s${session}`, (revisions[session] = (revisions[session] ?? 0) + 1));
        if (random() < 0.1) {
          feed.cut(random() < 0.3 ? new Failure("ABORTED", "CONSUMER_BUSY", { retryAfter: 1 }) : new Failure("UNAVAILABLE"));
        }
        if (random() < 0.1) {
          feed.failAcknowledge.push(new Failure("UNAVAILABLE", "STORE_UNAVAILABLE"));
        }
        if (random() < 0.05) {
          feed.failStream.push(new Failure("UNAVAILABLE", "DRAINING", { retryAfter: 1 }));
        }
        await new Promise((resolve) => setTimeout(resolve, random() * 3));
      }
      await eventually("all outcomes", () => handled.size === feed.changes.length);
      if (options.acknowledgeEach) {
        await eventually("all acknowledgements", () => feed.position === feed.changes.length);
      }
      // Without acknowledgeEach, changes that were dropped before they were acknowledged can be left to the next run.
      end.abort();
      await within("the drain", done);
      check();
      assert.deepEqual(problems, []);
    });
  }
});
