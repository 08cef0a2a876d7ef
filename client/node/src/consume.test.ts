import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { Client } from "./client.js";
import type { ConsumeOptions, Handler } from "./consume-options.js";
import {
  BeginAgainError,
  CheckpointLostError,
  ClosedError,
  ConsumerBusyError,
  ConsumerExpiredError,
  ConsumerNotFoundError,
  PermissionDeniedError,
  ResumeTokenExpiredError,
} from "./errors.js";
import { Feed } from "./feed.rig.js";
import { connectTo, eventually, rejection, startServer, within } from "./help.rig.js";
import { Failure } from "./server.rig.js";
import type { Bookmark, Update } from "./update.js";

interface Run {
  readonly feed: Feed;
  readonly client: Client;
  /** "session/revision" of each handled update. */
  readonly handled: string[];
  readonly end: AbortController;
  readonly done: Promise<void>;
}

function name({ verification }: Update | Bookmark): string {
  return `${verification?.sessionId}/${verification?.revision}`;
}

/** Consumes a feed until the test ends it. */
async function run(t: TestContext, feed: Feed, options: ConsumeOptions = {}, handle: Handler = () => {}): Promise<Run> {
  const server = await startServer(t, feed.behaviour());
  const client = connectTo(t, server.target);
  const handled: string[] = [];
  const end = new AbortController();
  const done = client.consume(
    "mailer",
    async (update, context) => {
      await handle(update, context);
      handled.push(name(update));
    },
    { signal: end.signal, ...options },
  );
  done.catch(() => {});
  return { feed, client, handled, end, done };
}

function feedOf(...sessions: readonly string[]): Feed {
  const feed = new Feed();
  const revisions: Record<string, number> = {};
  for (const session of sessions) {
    feed.add(session, (revisions[session] = (revisions[session] ?? 0) + 1));
  }
  return feed;
}

test("outcomes are handled in order and acknowledged, and the drain gives the consumer back", async (t) => {
  const { feed, handled, end, done } = await run(t, feedOf("a", "b", "a"));
  await eventually("three outcomes", () => handled.length === 3);
  assert.deepEqual(handled, ["a/1", "b/1", "a/2"]);
  assert.deepEqual(feed.acknowledged, [], "not yet: a batch has a second");
  end.abort();
  await within("the drain", done);
  assert.deepEqual(feed.acknowledged, [3]);
  await eventually("the end of the stream", () => !feed.isServed);
});

test("an acknowledgement comes a second after the first change, or after 100", async (t) => {
  const few = await run(t, feedOf("a"));
  const many = await run(t, feedOf(...Array.from({ length: 150 }, (_, i) => `s${i}`)));
  await eventually("the batch of 100", () => many.feed.acknowledged.length > 0);
  assert.deepEqual(many.feed.acknowledged, [many.feed.position]);
  assert.ok(many.feed.position >= 100);
  assert.deepEqual(few.feed.acknowledged, []);
  await eventually("the batch of a second", () => few.feed.acknowledged.length > 0);
  for (const { end, done } of [few, many]) {
    end.abort();
    await within("the drain", done);
  }
});

test("sessions are handled side by side, those of one session in order", async (t) => {
  const waiting = new Map<string, () => void>();
  const begun: string[] = [];
  const { handled, end, done } = await run(t, feedOf("a", "a", "b", "c"), { workers: 2 }, (update) => {
    begun.push(name(update));
    return new Promise((resolve) => waiting.set(name(update), resolve));
  });
  await eventually("two handlers", () => begun.length === 2);
  assert.deepEqual(begun, ["a/1", "b/1"], "a/2 waits for a/1, c/1 for a worker");
  waiting.get("b/1")?.();
  await eventually("the third", () => begun.length === 3);
  assert.deepEqual(begun, ["a/1", "b/1", "c/1"]);
  waiting.get("a/1")?.();
  await eventually("the fourth", () => begun.length === 4);
  waiting.get("c/1")?.();
  waiting.get("a/2")?.();
  await eventually("all", () => handled.length === 4);
  end.abort();
  await within("the drain", done);
});

test("a handler that fails holds up its own session only, and only the finished beginning is acknowledged", async (t) => {
  let failures = 1;
  const reported: [string, unknown, number][] = [];
  const options: ConsumeOptions = { onFailure: (update, error, wait) => reported.push([name(update), error, wait]) };
  const problem = new Error("no mail");
  const { feed, handled, end, done } = await run(t, feedOf("a", "b", "a", "b"), options, (update) => {
    if (name(update) === "b/1" && failures-- > 0) {
      throw problem;
    }
  });
  await eventually("the outcomes of the other session", () => handled.length === 2);
  assert.deepEqual(handled, ["a/1", "a/2"]);
  await eventually("the retry", () => handled.length === 4);
  assert.deepEqual(handled, ["a/1", "a/2", "b/1", "b/2"]);
  const [[who, error, wait] = []] = reported;
  assert.deepEqual([reported.length, who, error], [1, "b/1", problem]);
  assert.ok(wait !== undefined && wait >= 500 && wait <= 1000, `wait ${wait}`);
  end.abort();
  await within("the drain", done);
  assert.equal(feed.position, 4);
});

test("acknowledgeEach acknowledges before the next change, up to the longest finished beginning", async (t) => {
  const release: (() => void)[] = [];
  const { feed, handled, end, done } = await run(t, feedOf("a", "b", "c"), { workers: 2, acknowledgeEach: true }, (update) =>
    name(update) === "a/1" ? new Promise((resolve) => release.push(resolve)) : undefined,
  );
  await eventually("those behind the slow one", () => handled.length === 2);
  assert.deepEqual(feed.acknowledged, []);
  release[0]?.();
  await eventually("all", () => feed.position === 3);
  end.abort();
  await within("the drain", done);
});

test("a stream that breaks resumes after the last change received, and nothing is handled twice", async (t) => {
  const { feed, handled, end, done } = await run(t, feedOf("a", "b"));
  await eventually("two", () => handled.length === 2);
  feed.cut();
  feed.add("c", 1);
  await eventually("the third", () => handled.length === 3);
  assert.deepEqual(handled, ["a/1", "b/1", "c/1"]);
  assert.deepEqual(feed.tokens, ["", "c:2"]);
  assert.deepEqual(feed.mustExist, [false, true]);
  end.abort();
  await within("the drain", done);
});

test("a standby waits until the consumer is free", async (t) => {
  const feed = feedOf("a");
  feed.exists = true;
  const free = feed.occupy();
  const seen: Error[] = [];
  const { handled, end, done } = await run(t, feed, { onInterruption: (error) => seen.push(error) });
  await eventually("busy", () => seen.length >= 3);
  assert.ok(seen.every((error) => error instanceof ConsumerBusyError));
  assert.deepEqual(handled, []);
  free();
  await eventually("the outcome", () => handled.length === 1);
  assert.deepEqual(feed.mustExist.slice(0, 2), [false, true], "a busy consumer exists");
  end.abort();
  await within("the drain", done);
});

test("another instance takes over: the signal of the handler aborts, and its change comes again", async (t) => {
  let reason: unknown;
  let calls = 0;
  const { feed, handled, end, done } = await run(t, feedOf("a"), {}, (_, { signal }) => {
    if (calls++ > 0) {
      return undefined;
    }
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject((reason = signal.reason))));
  });
  await eventually("the handler", () => calls === 1);
  feed.cut(new Failure("ABORTED", "CONSUMER_BUSY", { retryAfter: 10 }));
  await eventually("the second call", () => handled.length === 1);
  assert.ok(reason instanceof ConsumerBusyError);
  assert.deepEqual(feed.tokens, ["", ""]);
  end.abort();
  await within("the drain", done);
});

test("a handler that outlasts the drain has its signal aborted", async (t) => {
  let begun = false;
  let aborted = false;
  const { end, done } = await run(t, feedOf("a"), { drainWithin: 20 }, (_, { signal }) => {
    begun = true;
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        aborted = true;
        resolve();
      });
    });
  });
  await eventually("the handler", () => begun);
  end.abort();
  assert.equal(aborted, false, "the drain comes first");
  await within("the drain", done);
  assert.equal(aborted, true);
});

test("the drain waits for a handler that runs, and acknowledges it", async (t) => {
  let begun = false;
  const { feed, handled, end, done } = await run(t, feedOf("a", "b"), {}, () => {
    begun = true;
    return new Promise((resolve) => setTimeout(resolve, 50));
  });
  await eventually("the handler", () => begun);
  end.abort();
  await within("the drain", done);
  assert.deepEqual([handled, feed.acknowledged], [["a/1"], [1]]);
});

test("the drain rejects if the last acknowledgement cannot succeed", async (t) => {
  const { feed, handled, end, done } = await run(t, feedOf("a"));
  await eventually("the outcome", () => handled.length === 1);
  feed.failAcknowledge.push(new Failure("PERMISSION_DENIED", "PERMISSION_DENIED"));
  end.abort();
  assert.ok((await rejection(done)) instanceof PermissionDeniedError);
});

test("an acknowledgement is repeated while the service is unavailable", async (t) => {
  const seen: Error[] = [];
  const feed = feedOf("a");
  feed.failAcknowledge.push(new Failure("UNAVAILABLE", "STORE_UNAVAILABLE"), new Failure("NOT_FOUND"));
  const { end, done } = await run(t, feed, { acknowledgeEach: true, onInterruption: (error) => seen.push(error) });
  await eventually("the acknowledgement", () => feed.position === 1);
  assert.equal(seen.length, 2, "a proxy's 404 is no answer of the service");
  end.abort();
  await within("the drain", done);
});

for (const [failure, Class] of [
  [new Failure("NOT_FOUND", "CONSUMER_NOT_FOUND"), ConsumerNotFoundError],
  [new Failure("OUT_OF_RANGE", "CONSUMER_EXPIRED"), ConsumerExpiredError],
  [new Failure("PERMISSION_DENIED", "PERMISSION_DENIED"), PermissionDeniedError],
] as const) {
  test(`${Class.name} ends consume`, async (t) => {
    const feed = feedOf();
    feed.failStream.push(failure);
    assert.ok((await rejection((await run(t, feed)).done)) instanceof Class);
  });
}

test("a consumer that was deleted and made again is not taken for the earlier one", async (t) => {
  const { feed, handled, done } = await run(t, feedOf("a"), { acknowledgeEach: true });
  await eventually("the acknowledgement", () => handled.length === 1 && feed.position === 1);
  feed.id = "other";
  feed.cut();
  const error = await rejection(done);
  assert.ok(error instanceof ConsumerNotFoundError);
  assert.equal(error.reason, "RESUME_TOKEN_INVALID");
});

test("a consumer that was made again while this instance stood by is not taken for the earlier one", async (t) => {
  const { feed, handled, done } = await run(t, feedOf("a"), { acknowledgeEach: true });
  await eventually("the acknowledgement", () => handled.length === 1 && feed.position === 1);
  feed.id = "other";
  feed.cut(new Failure("ABORTED", "CONSUMER_BUSY", { retryAfter: 1 }));
  assert.ok((await rejection(done)) instanceof ConsumerNotFoundError);
  assert.equal(feed.tokens.at(-1), "", "no stream's token has told it");
});

test("a position that the store has lost begins again after what was acknowledged", async (t) => {
  const { feed, handled, end, done } = await run(t, feedOf("a", "b"));
  await eventually("two", () => handled.length === 2);
  feed.failAcknowledge.push(new Failure("UNAVAILABLE", "STORE_UNAVAILABLE", { retryAfter: 100 }));
  feed.failStream.push(new Failure("OUT_OF_RANGE", "RESUME_TOKEN_EXPIRED"));
  feed.cut();
  feed.add("c", 1);
  await eventually("the third", () => handled.length === 3);
  assert.deepEqual(handled, ["a/1", "b/1", "c/1"], "a run passes over what it has handled");
  assert.deepEqual(feed.tokens, ["", ""]);
  end.abort();
  await within("the drain", done);
  assert.equal(feed.position, 3);
});

test("changes without room are skipped, and sent again when there is room", async (t) => {
  let release = (): void => {};
  const blocked = new Promise<void>((resolve) => (release = resolve));
  let begun = false;
  const { feed, handled, end, done } = await run(
    t,
    feedOf("a", "b", "c", "d", "e", "f"),
    { maxHeld: 2 },
    () => ((begun = true), blocked),
  );
  await eventually("the handler", () => begun);
  await new Promise((resolve) => setTimeout(resolve, 1500)); // beyond the second that it waits for room
  assert.deepEqual(handled, []);
  release();
  await eventually("all", () => handled.length === 6);
  assert.deepEqual(handled, ["a/1", "b/1", "c/1", "d/1", "e/1", "f/1"]);
  assert.ok(feed.tokens.length > 1);
  assert.equal(feed.tokens[1], "c:2");
  end.abort();
  await within("the drain", done);
});

test("a heartbeat is acknowledged if nothing is held, at most once a minute", async (t) => {
  let release = (): void => {};
  const blocked = new Promise<void>((resolve) => (release = resolve));
  let begun = false;
  const { feed, handled, end, done } = await run(t, feedOf("a"), { acknowledgeEach: true }, () => ((begun = true), blocked));
  await eventually("the handler", () => begun);
  feed.beat(1);
  feed.cut();
  await eventually("the next stream", () => feed.tokens.length === 2 && feed.isServed);
  assert.deepEqual(feed.tokens, ["", "c:2"]);
  release();
  await eventually("the acknowledgement", () => handled.length === 1 && feed.position === 1);
  feed.beat(1);
  await eventually("that of the heartbeat", () => feed.position > 1);
  feed.beat(1);
  feed.cut();
  await eventually("the third stream", () => feed.tokens.length === 3 && feed.isServed);
  assert.equal(feed.tokens[2], "c:4", "the last heartbeat has come");
  end.abort();
  await within("the drain", done);
  assert.deepEqual(feed.acknowledged, [1, 3]);
});

test("a server that is older than consumers is passed over", async (t) => {
  const seen: string[] = [];
  const feed = feedOf("a");
  feed.isOlder = true;
  const { handled, end, done } = await run(t, feed, { onInterruption: (error) => seen.push(error.message) });
  await eventually("the older server", () => seen.length === 2);
  feed.isOlder = false;
  await eventually("the outcome", () => handled.length === 1);
  assert.match(seen[0] ?? "", /older/);
  end.abort();
  await within("the drain", done);

  feed.isOlder = true;
  assert.match(String(await rejection((await run(t, feed)).done)), /older/);
});

test("a checkpoint is where consume begins, and is saved for each change", async (t) => {
  const feed = feedOf("a", "b", "a");
  let stored = "c:1";
  const saved: string[] = [];
  let failures = 1;
  const checkpoint = {
    load: () => stored,
    save: (update: Update | Bookmark) => {
      if (update.verification !== undefined && failures-- > 0) {
        throw new Error("disk full");
      }
      stored = update.resumeToken;
      saved.push(name(update));
    },
  };
  feed.exists = true;
  const failed: unknown[] = [];
  const { handled, end, done } = await run(t, feed, { checkpoint, onFailure: (_, error) => failed.push(error) });
  await eventually("two", () => saved.length === 3);
  assert.deepEqual(saved, ["undefined/undefined", "b/1", "a/2"], "the bookmark of the stream's beginning too");
  assert.deepEqual(handled, ["b/1", "a/2"], "the handler is not called again when only save has failed");
  assert.equal((failed[0] as Error).message, "save the checkpoint: disk full");
  assert.deepEqual([feed.tokens, feed.mustExist], [["c:1"], [true]]);
  end.abort();
  await within("the drain", done);
  assert.equal(stored, "c:3");
});

test("a checkpoint that moved before the stream had the consumer is followed", async (t) => {
  const feed = feedOf("a", "b");
  const stored = ["c:1", "c:2"]; // the first load finds what was before the last save of another instance
  const checkpoint = { load: () => (stored.length > 1 ? (stored.shift() ?? "") : "c:2"), save: () => {} };
  feed.exists = true;
  const seen: string[] = [];
  const { handled, end, done } = await run(t, feed, { checkpoint, onInterruption: (error) => seen.push(error.message) });
  await eventually("the next stream", () => feed.tokens.length === 2 && feed.isServed);
  assert.deepEqual(feed.tokens, ["c:1", "c:2"]);
  assert.match(seen.join(), /another instance has moved the checkpoint/);
  feed.add("c", 1);
  await eventually("the outcome", () => handled.length === 1);
  assert.deepEqual(handled, ["c/1"]);
  end.abort();
  await within("the drain", done);
});

test("a checkpoint without a token of a consumer that was used ends consume", async (t) => {
  const used = (): Feed => {
    const feed = feedOf("a", "b");
    feed.exists = true;
    feed.acknowledged.push(1);
    return feed;
  };
  const empty = { load: () => "", save: () => {} };
  assert.ok((await rejection((await run(t, used(), { checkpoint: empty })).done)) instanceof CheckpointLostError);

  const denied = used();
  denied.failList = new Failure("PERMISSION_DENIED", "PERMISSION_DENIED");
  const { handled, done } = await run(t, denied, { checkpoint: empty });
  await eventually("an outcome: it may not ask", () => handled.length === 1);
  await eventually("the save", () => denied.position === 2);
  denied.cut();
  assert.ok((await rejection(done)) instanceof CheckpointLostError, "what was saved is gone");
  assert.deepEqual(denied.tokens, ["", ""]);

  const must = used();
  must.failList = denied.failList;
  assert.ok((await rejection((await run(t, must, { checkpoint: empty, mustExist: true })).done)) instanceof CheckpointLostError);
});

test("a handler that finds another position makes consume begin again", async (t) => {
  const feed = feedOf("a", "b");
  feed.exists = true;
  let stored = "c:0";
  let lost = false;
  const checkpoint = { load: () => stored, save: ({ resumeToken }: Update | Bookmark) => void (stored = resumeToken) };
  const { handled, end, done } = await run(t, feed, { checkpoint, onFailure: () => assert.fail("a failure") }, (update) => {
    if (name(update) === "b/1" && !lost) {
      lost = true;
      stored = "c:0"; // the database has lost a commit
      throw new Error("moved", { cause: new BeginAgainError() });
    }
  });
  await eventually("all", () => handled.length === 3);
  assert.deepEqual([handled, feed.tokens], [["a/1", "a/1", "b/1"], ["c:0", "c:0"]]);
  end.abort();
  await within("the drain", done);
  assert.equal(stored, "c:2");
});

test("a checkpoint whose changes are gone ends consume", async (t) => {
  const feed = feedOf("a");
  feed.failStream.push(new Failure("OUT_OF_RANGE", "RESUME_TOKEN_EXPIRED"));
  const checkpoint = { load: () => "c:0", save: () => {} };
  assert.ok((await rejection((await run(t, feed, { checkpoint })).done)) instanceof ResumeTokenExpiredError);
});

test("options that cannot be are refused", async (t) => {
  const { client, end, done } = await run(t, feedOf());
  const checkpoint = { load: () => "", save: () => {} };
  for (const options of [{ workers: 0 }, { maxHeld: 0 }, { drainWithin: -1 }, { checkpoint, workers: 2 }]) {
    assert.ok((await rejection(client.consume("mailer", () => {}, options))) instanceof TypeError);
  }
  assert.ok((await rejection(client.consume("", () => {}))) instanceof TypeError);
  end.abort();
  await within("the drain", done);
  await within(
    "a run whose signal has aborted",
    client.consume("mailer", () => {}, { signal: end.signal }),
  );
});

test("close ends consume with a ClosedError", async (t) => {
  const { feed, client, done } = await run(t, feedOf("a"));
  await eventually("the stream", () => feed.tokens.length === 1);
  client.close();
  assert.ok((await rejection(done)) instanceof ClosedError);
});
