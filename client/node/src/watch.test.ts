import assert from "node:assert/strict";
import { test } from "node:test";

import {
  NotFoundError,
  PermissionDeniedError,
  ResumeTokenExpiredError,
  ResumeTokenInvalidError,
  UnavailableError,
} from "./errors.js";
import { connectTo, eventually, fast, rejection, startServer, take, within } from "./help.rig.js";
import { Failure } from "./server.rig.js";
import type { Update } from "./update.js";

const session = { session: "vs_1" };

function revision(
  n: number,
  more: { settled?: boolean; sessionId?: string } = {},
): { sessionId: string; revision: number; settled?: boolean } {
  return { sessionId: "vs_1", revision: n, ...more };
}

function shown(updates: readonly Update[]): string[] {
  return updates.map(({ verification, resumeToken, reset }) => `${verification.revision} ${resumeToken}${reset ? " reset" : ""}`);
}

test("a watch yields each revision once, and resumes after the last handled one", async (t) => {
  const tokens: string[] = [];
  const server = await startServer(t, {
    watchStatus: (stream, number) => {
      tokens.push(stream.request.resumeToken);
      if (number === 1) {
        stream.send(revision(1));
        stream.send(revision(2));
        setTimeout(() => stream.fail(new Failure("UNAVAILABLE", "DRAINING", { retryAfter: 1 })), 20);
      } else {
        stream.send(revision(2)); // again: a server without the token's position can begin before it
        stream.send(revision(3));
      }
    },
  });
  const updates = await take(3, connectTo(t, server.target).watch(session));
  assert.deepEqual(shown(updates), ["1 t1", "2 t2", "3 t3"]);
  assert.deepEqual(tokens, ["", "t2"]);
});

test("an update that the loop has not handled comes again", async (t) => {
  const tokens: string[] = [];
  const server = await startServer(t, {
    watchStatus: (stream) => {
      tokens.push(stream.request.resumeToken);
      stream.send(revision(1));
      stream.fail(new Failure("UNAVAILABLE"));
    },
  });
  const client = connectTo(t, server.target);
  await take(1, client.watch(session));
  await take(1, client.watch(session, { resumeFrom: "mine" }));
  assert.deepEqual(tokens, ["", "mine"]);
});

test("a heartbeat is no update, and moves the token", async (t) => {
  const tokens: string[] = [];
  const server = await startServer(t, {
    watchStatus: (stream, number) => {
      tokens.push(stream.request.resumeToken);
      if (number === 1) {
        stream.send(revision(1));
        stream.bookmark("beat");
        stream.end();
      } else {
        stream.send(revision(2));
      }
    },
  });
  assert.deepEqual(shown(await take(2, connectTo(t, server.target).watch(session))), ["1 t1", "2 t2"]);
  assert.deepEqual(tokens, ["", "beat"]);
});

test("bookmarks are updates without a verification", async (t) => {
  const server = await startServer(t, { watchStatus: (stream) => (stream.bookmark("b1"), stream.send(revision(7))) });
  const [first, second] = await take(2, connectTo(t, server.target).watchAll({ bookmarks: true }));
  assert.deepEqual(first, { resumeToken: "b1", reset: false });
  assert.equal(second?.verification?.revision, 7);
});

test("an expired token restarts a watch of one subject with reset", async (t) => {
  const tokens: string[] = [];
  const server = await startServer(t, {
    watchStatus: (stream, number) => {
      tokens.push(stream.request.resumeToken);
      switch (number) {
        case 1:
          stream.send(revision(8));
          stream.end();
          return;
        case 2:
          return stream.fail(new Failure("OUT_OF_RANGE", "RESUME_TOKEN_EXPIRED"));
        default:
          stream.send(revision(5)); // lower than the last one
          stream.send(revision(6));
      }
    },
  });
  assert.deepEqual(shown(await take(3, connectTo(t, server.target).watch(session))), ["8 t8", "5 t5 reset", "6 t6"]);
  assert.deepEqual(tokens, ["", "t8", ""]);
});

test("an expired token ends a watch of all sessions", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream) => stream.fail(new Failure("OUT_OF_RANGE", "RESUME_TOKEN_EXPIRED")),
  });
  const error = await rejection(take(1, connectTo(t, server.target).watchAll({ resumeFrom: "old" })));
  assert.ok(error instanceof ResumeTokenExpiredError);
});

test("untilSettled ends the loop after the settled update", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream, number) => {
      assert.equal(stream.request.untilSettled, true);
      stream.send(revision(number, { settled: number >= 2 }));
      stream.end(); // the first time, the session is not settled: the stream was interrupted
    },
  });
  const client = connectTo(t, server.target);
  const updates: Update[] = [];
  for await (const update of client.watch(session, { untilSettled: true })) {
    updates.push(update);
  }
  assert.deepEqual(shown(updates), ["1 t1", "2 t2"]);
  assert.equal((await within("the settled session", client.waitSettled(session))).revision, 3, "the third stream, at once");
});

for (const [code, reason] of [
  ["INVALID_ARGUMENT", "INVALID_REQUEST"],
  ["NOT_FOUND", "SESSION_NOT_FOUND"],
  ["PERMISSION_DENIED", "PERMISSION_DENIED"],
  ["UNAUTHENTICATED", "UNAUTHENTICATED"],
  ["FAILED_PRECONDITION", "STRIPE_NOT_CONFIGURED"],
] as const) {
  test(`${reason} of the service ends a watch that has begun`, async (t) => {
    const server = await startServer(t, {
      watchStatus: (stream, number) =>
        number === 1 ? (stream.send(revision(1)), stream.end()) : stream.fail(new Failure(code, reason)),
    });
    const error = await rejection(take(2, connectTo(t, server.target).watch(session)));
    assert.equal((error as { reason?: unknown }).reason, reason);
  });

  test(`${code} of a proxy interrupts a watch that has begun`, async (t) => {
    const server = await startServer(t, {
      watchStatus: (stream, number) =>
        number === 2 ? stream.fail(new Failure(code)) : (stream.send(revision(number)), stream.end()),
    });
    assert.deepEqual(shown(await take(2, connectTo(t, server.target).watch(session))), ["1 t1", "3 t3"]);
  });
}

test("the first answer ends a watch, also that of a proxy", async (t) => {
  const server = await startServer(t, { watchStatus: (stream) => stream.fail(new Failure("UNIMPLEMENTED")) });
  const error = await rejection(take(1, connectTo(t, server.target).watch(session)));
  assert.equal((error as { code?: unknown }).code, "UNIMPLEMENTED");
  assert.equal(server.streams, 1);
});

test("a final answer after an outage is not the first one", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream, number) => {
      if (number === 1) {
        stream.fail(new Failure("UNAVAILABLE"));
      } else if (number === 2) {
        stream.fail(new Failure("PERMISSION_DENIED"));
      } else {
        stream.fail(new Failure("PERMISSION_DENIED", "PERMISSION_DENIED"));
      }
    },
  });
  const error = await rejection(take(1, connectTo(t, server.target).watch(session)));
  assert.ok(error instanceof PermissionDeniedError && error.fromService);
  assert.equal(server.streams, 3);
});

test("an interruption is reported with its error and the longest wait", async (t) => {
  const seen: [Error, number][] = [];
  const server = await startServer(t, {
    watchStatus: (stream, number) =>
      number === 1 ? stream.fail(new Failure("UNAVAILABLE", "STORE_UNAVAILABLE", { retryAfter: 30 })) : stream.send(revision(1)),
  });
  const begun = performance.now();
  await take(1, connectTo(t, server.target).watch(session, { onInterruption: (error, wait) => seen.push([error, wait]) }));
  const [error, wait] = seen[0] ?? [];
  assert.equal(seen.length, 1);
  assert.ok(error instanceof UnavailableError && error.reason === "STORE_UNAVAILABLE");
  assert.ok(wait !== undefined && wait >= 30 && wait <= 30 + 5, `wait ${wait}, want 30 to 35`);
  assert.ok(performance.now() - begun >= 30, "it waits as long as the server asks");
});

test("ResumeTokenInvalidError is an InvalidRequestError and final", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream) => stream.fail(new Failure("INVALID_ARGUMENT", "RESUME_TOKEN_INVALID")),
  });
  const error = await rejection(take(1, connectTo(t, server.target).watch(session, { resumeFrom: "of another" })));
  assert.ok(error instanceof ResumeTokenInvalidError);
});

test("the signal ends a watch with its reason", async (t) => {
  const server = await startServer(t, { watchStatus: (stream) => stream.send(revision(1)) });
  const reason = new Error("enough");
  const controller = new AbortController();
  const loop = async (): Promise<void> => {
    for await (const _ of connectTo(t, server.target).watch(session, { signal: controller.signal })) {
      setTimeout(() => controller.abort(reason), 5);
    }
  };
  assert.equal(await rejection(loop()), reason);
  assert.equal(
    await rejection(take(1, connectTo(t, server.target).watch(session, { signal: controller.signal }))),
    reason,
    "aborted before",
  );
});

test("the server sees that a loop was left", async (t) => {
  let left: Promise<void> | undefined;
  const server = await startServer(t, {
    watchStatus: (stream) => {
      left = stream.left;
      stream.send(revision(1));
    },
  });
  await take(1, connectTo(t, server.target).watch(session));
  await within("the end of the stream", left ?? Promise.reject(new Error("no stream")));
});

test("return ends a pending next", async (t) => {
  const server = await startServer(t, { watchStatus: () => {} });
  const loop = connectTo(t, server.target).watch(session)[Symbol.asyncIterator]();
  const pending = loop.next();
  await eventually("the stream", () => server.streams === 1);
  await within("return", Promise.resolve(loop.return?.()));
  assert.deepEqual(await within("next", pending), { done: true, value: undefined });
  assert.deepEqual(await loop.next(), { done: true, value: undefined });
});

test("each loop is a new watch", async (t) => {
  const server = await startServer(t, { watchStatus: (stream) => stream.send(revision(1)) });
  const watch = connectTo(t, server.target).watch(session);
  await take(1, watch);
  await take(1, watch);
  assert.equal(server.streams, 2);
});

test("a subject that cannot be sent is refused without a call", async (t) => {
  const server = await startServer(t, { watchStatus: (stream) => stream.fail(new Failure("NOT_FOUND", "SESSION_NOT_FOUND")) });
  const client = connectTo(t, server.target);
  assert.equal(((await rejection(take(1, client.watch({ session: "\ud800" })))) as NotFoundError).code, "INVALID_ARGUMENT");
  assert.equal(
    ((await rejection(take(1, client.watch(session, { resumeFrom: "\ud800" })))) as NotFoundError).code,
    "INVALID_ARGUMENT",
  );
  assert.equal(server.streams, 0);
});

test("a watch waits for a server that is not there yet", async (t) => {
  const first = await startServer(t, {});
  const { port } = first;
  first.stop();
  const seen: Error[] = [];
  const client = connectTo(t, `127.0.0.1:${port}`, fast);
  const taken = take(1, client.watch(session, { onInterruption: (error) => seen.push(error) }));
  await eventually("an interruption", () => seen.length > 0);
  await startServer(t, { watchStatus: (stream) => stream.send(revision(4)) }, { port });
  assert.deepEqual(shown(await taken), ["4 t4"]);
  assert.match(String(seen[0]?.message), /ECONNREFUSED/);
});
