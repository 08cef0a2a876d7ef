import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "./connect.js";
import {
  ClosedError,
  DeadlineExceededError,
  InvalidRequestError,
  OutcomeChangedError,
  RetryDeniedError,
  UnauthenticatedError,
  UnavailableError,
  VerificationError,
} from "./errors.js";
import { MatchResult } from "./gen/verification/v1/comparison_pb.js";
import { ResolutionKind, RetryDenial, Status } from "./gen/verification/v1/verification_pb.js";
import { connectTo, eventually, fast, rejection, startServer, take, within } from "./help.rig.js";
import { Failure } from "./server.rig.js";

const session = { session: "vs_1" };
const verification = { sessionId: "vs_1", status: Status.VERIFIED, revision: 3 };

test("status sends the subject and its options", async (t) => {
  const server = await startServer(t, {
    getStatus: (request) => ({
      verification: {
        ...verification,
        clientReferenceId: `${request.subject.case} ${request.subject.value} ${request.minRevision} ${request.account}`,
      },
      history: request.includeHistory ? [{ revision: 1 }] : [],
      ...(request.includePerson && { person: { sessions: 2 } }),
    }),
  });
  const client = connectTo(t, server.target);
  assert.equal((await client.status(session)).clientReferenceId, "sessionId vs_1 0 ");
  const { verification: read, history } = await client.history({ reference: "user-42" }, { minRevision: 7, account: "acct_1" });
  assert.equal(read.clientReferenceId, "clientReferenceId user-42 7 acct_1");
  assert.deepEqual(
    history.map((entry) => entry.revision),
    [1],
  );
  assert.equal((await client.person("user-42")).person.sessions, 2);
});

test("a status is asked for again while the service is unavailable or in conflict", async (t) => {
  const failures = [new Failure("UNAVAILABLE", "STORE_UNAVAILABLE"), new Failure("ABORTED", "CONFLICT", { retryAfter: 1 })];
  let calls = 0;
  const server = await startServer(t, {
    getStatus: () => {
      const failure = failures[calls++];
      if (failure) throw failure;
      return { verification };
    },
  });
  assert.equal((await connectTo(t, server.target).status(session)).revision, 3);
  assert.equal(calls, 3);
});

test("a status that stays unavailable fails after four tries", async (t) => {
  let calls = 0;
  const server = await startServer(t, {
    getStatus: () => {
      calls++;
      throw new Failure("UNAVAILABLE", "STORE_UNAVAILABLE");
    },
  });
  const error = await rejection(connectTo(t, server.target).status(session));
  assert.ok(error instanceof UnavailableError && error.reason === "STORE_UNAVAILABLE");
  assert.equal(calls, 4);
});

test("a call that changes something is sent once", async (t) => {
  let calls = 0;
  const server = await startServer(t, {
    retryVerification: () => {
      calls++;
      throw new Failure("UNAVAILABLE", "STRIPE_UNAVAILABLE");
    },
  });
  await rejection(connectTo(t, server.target).retry("vs_1"));
  assert.equal(calls, 1);
});

test("retry returns secrets, and a denial as an error", async (t) => {
  const server = await startServer(t, {
    retryVerification: (request) => {
      if (request.sessionId === "vs_denied") {
        throw new Failure("FAILED_PRECONDITION", "RETRY_DENIED", { metadata: { denial: "RETRY_DENIAL_LIMIT_REACHED" } });
      }
      assert.deepEqual(
        [request.replaceClosed, request.returnUrl, request.ephemeralKeyVersion, request.account],
        [true, "https://b.example", "v1", "acct_1"],
      );
      return { verification, clientSecret: "s1", url: "u1", ephemeralKeySecret: "e1" };
    },
  });
  const client = connectTo(t, server.target);
  const link = await client.retry("vs_1", {
    replaceClosed: true,
    returnUrl: "https://b.example",
    ephemeralKeyVersion: "v1",
    account: "acct_1",
  });
  assert.deepEqual([link.clientSecret.reveal(), link.url.reveal(), link.ephemeralKeySecret.reveal()], ["s1", "u1", "e1"]);
  const error = await rejection(client.retry("vs_denied"));
  assert.ok(error instanceof RetryDeniedError && error.denial === RetryDenial.LIMIT_REACHED);
});

test("compare sends the fields that are set", async (t) => {
  const server = await startServer(t, {
    compareVerifiedOutputs: (request) => ({
      fields: [{ field: `${request.sessionId} ${request.lastName} ${request.email}`, result: MatchResult.MATCH }],
    }),
  });
  const [field] = await connectTo(t, server.target).compare("vs_1", { lastName: "Doe" });
  assert.deepEqual([field?.field, field?.result], ["vs_1 Doe ", MatchResult.MATCH]);
});

test("an operator's conflict without a wait is a changed outcome", async (t) => {
  let retryAfter: number | undefined;
  const conflict = (): never => {
    throw new Failure("ABORTED", "CONFLICT", { ...(retryAfter && { retryAfter }), metadata: { outcome_revision: "4" } });
  };
  const server = await startServer(t, {
    allowRetry: (request) => (request.outcomeRevision === 3 ? conflict() : { verification }),
    resolveVerification: (request) =>
      request.outcomeRevision === 3 ? conflict() : { verification: { ...verification, resolution: { kind: request.kind } } },
  });
  const { operator } = connectTo(t, server.target);
  assert.equal((await operator.resolve("vs_1", ResolutionKind.DECLINED)).resolution?.kind, ResolutionKind.DECLINED);
  assert.equal((await operator.allowRetry("vs_1")).revision, 3);
  for (const call of [
    () => operator.allowRetry("vs_1", { seenOutcome: 3 }),
    () => operator.resolve("vs_1", 1, { seenOutcome: 3 }),
  ]) {
    const error = await rejection(call());
    assert.ok(error instanceof OutcomeChangedError);
    assert.deepEqual([error.code, error.reason, error.metadata["outcome_revision"]], ["ABORTED", "CONFLICT", "4"]);
  }
  retryAfter = 5;
  const error = await rejection(operator.allowRetry("vs_1", { seenOutcome: 3 }));
  assert.ok(error instanceof VerificationError && !(error instanceof OutcomeChangedError));
});

test("a list reads page after page, and a page again", async (t) => {
  const asked: string[] = [];
  const server = await startServer(t, {
    listVerifications: ({ filter, pageToken, pageSize }) => {
      asked.push(`${filter.case} ${filter.value} ${pageSize} ${pageToken}`);
      if (asked.length === 2) {
        throw new Failure("UNAVAILABLE", "STORE_UNAVAILABLE", { retryAfter: 1 });
      }
      return pageToken === ""
        ? { verifications: [verification, verification], nextPageToken: "p2" }
        : { verifications: [verification] };
    },
  });
  const client = connectTo(t, server.target);
  const listed = [];
  for await (const v of client.list({ status: Status.VERIFIED }, { pageSize: 2 })) {
    listed.push(v.sessionId);
  }
  assert.equal(listed.length, 3);
  assert.deepEqual(asked, ["status 3 2 ", "status 3 2 p2", "status 3 2 p2"]);
  const both = { status: 3, reference: "a" } as unknown as { reference: string };
  assert.ok((await rejection(take(1, client.list(both)))) instanceof InvalidRequestError);
});

test("a list whose pages have no end is ended", async (t) => {
  const server = await startServer(t, { listVerifications: () => ({ nextPageToken: "same" }) });
  assert.match(String(await rejection(take(1, connectTo(t, server.target).list({ inDoubt: true })))), /own token/);
});

test("a call ends with its timeout, and says what was missing", async (t) => {
  const server = await startServer(t, { getStatus: () => new Promise(() => {}) });
  const error = await rejection(connectTo(t, server.target).status(session, { timeout: 50 }));
  assert.ok(error instanceof DeadlineExceededError, String(error));
  server.stop();
  const unreachable = await rejection(connectTo(t, server.target).status(session, { timeout: 100 }));
  assert.ok(unreachable instanceof UnavailableError);
  assert.match(unreachable.message, /could not be reached for 0.1 s: .*ECONNREFUSED/);
});

test("a signal ends a call with its reason, and the server sees it", async (t) => {
  const server = await startServer(t, { getStatus: () => new Promise(() => {}) });
  const reason = new Error("the person left");
  const controller = new AbortController();
  const call = connectTo(t, server.target).status(session, { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 20);
  assert.equal(await rejection(call), reason);
});

test("close ends calls and watches, and later ones", async (t) => {
  const server = await startServer(t, { getStatus: () => new Promise(() => {}), watchStatus: () => {} });
  const client = connectTo(t, server.target);
  const under = [rejection(client.status(session)), rejection(take(1, client.watch(session)))];
  setTimeout(() => client.close(), 30);
  for (const error of [
    ...(await Promise.all(under)),
    await rejection(client.status(session)),
    await rejection(take(1, client.watch(session))),
  ]) {
    assert.ok(error instanceof ClosedError);
  }
  client.close();
});

test("await using closes a client", async (t) => {
  const server = await startServer(t, { getStatus: () => ({ verification }) });
  const client = connect(server.target, fast);
  await client.status(session);
  await client[Symbol.asyncDispose]();
  assert.ok((await rejection(client.status(session))) instanceof ClosedError);
});

test("ready needs a refusal of the service itself", async (t) => {
  let failure = new Failure("INVALID_ARGUMENT", "INVALID_REQUEST");
  const server = await startServer(t, {
    getStatus: () => {
      throw failure;
    },
  });
  const client = connectTo(t, server.target);
  await client.ready();
  failure = new Failure("INVALID_ARGUMENT");
  assert.ok((await rejection(client.ready())) instanceof InvalidRequestError);
});

test("tokens: that of the client, that of the call, and none in plain text to others", async (t) => {
  const server = await startServer(t, {
    getStatus: (_, metadata) => ({ verification: { sessionId: String(metadata.get("authorization")[0]) } }),
  });
  let n = 0;
  const client = connectTo(t, server.target, { ...fast, token: () => Promise.resolve(` token-${++n}\n`) });
  assert.equal((await client.status(session)).sessionId, "Bearer token-1");
  assert.equal((await client.status(session)).sessionId, "Bearer token-2");
  assert.equal((await client.status(session, { token: "person" })).sessionId, "Bearer person");
  for (const token of ["", " ", "a\nb", "ü"]) {
    const error = await rejection(client.status(session, { token }));
    assert.ok(error instanceof UnauthenticatedError && !error.message.includes("ü"));
  }
  const withoutOwn = connectTo(t, server.target);
  assert.equal((await withoutOwn.status(session)).sessionId, "undefined");
  assert.ok((await rejection(withoutOwn.status(session, { token: "person" }))) instanceof UnauthenticatedError);
  assert.throws(() => connect("10.0.0.1:443", { plaintext: true, token: "t" }), /loopback/);
});

test("a token source that fails makes the service unavailable", async (t) => {
  const server = await startServer(t, {
    getStatus: () => ({ verification }),
    watchStatus: (stream) => stream.send({ revision: 1 }),
  });
  let failures = 2;
  const source = (): string => {
    if (failures-- > 0) {
      throw new Error("no key yet");
    }
    return "t";
  };
  const client = connectTo(t, server.target, { ...fast, token: source });
  const seen: string[] = [];
  await take(1, client.watch(session, { onInterruption: (error) => seen.push(error.message) }));
  assert.deepEqual(seen, Array(2).fill("the source of bearer tokens failed: no key yet"));
});

test("a value that its field does not have is refused without a call", async (t) => {
  const server = await startServer(t, { getStatus: () => ({ verification }) });
  const client = connectTo(t, server.target);
  assert.ok((await rejection(client.status(session, { minRevision: 1.5 }))) instanceof InvalidRequestError);
  assert.ok((await rejection(client.status(session, { timeout: NaN }))) instanceof InvalidRequestError);
  assert.ok(
    (await rejection(client.status({ session: "a", reference: "b" } as unknown as { session: string }))) instanceof
      InvalidRequestError,
  );
});

test("options that contradict each other are refused", () => {
  assert.throws(() => connect("a:1", { plaintext: true, tls: {} }), TypeError);
  assert.throws(() => connect("a:1", { tls: { cert: "x" } }), TypeError);
  assert.throws(() => connect("a:1", { tls: { certFile: "/none" } }), TypeError);
  assert.throws(() => connect("a:1", { tls: { caFile: "/none" } }), /ENOENT/);
  assert.throws(() => connect("a:1", { backoff: { base: 0 } }), TypeError);
  assert.throws(() => connect([]), TypeError);
});

test("a busy client keeps its calls while servers drain", async (t) => {
  const answer = { getStatus: () => ({ verification }), health: () => "SERVING" as const };
  let server = await startServer(t, answer);
  const other = await startServer(t, answer);
  const client = connectTo(t, [server.target, other.target]);
  let calls = 0;
  let over = false;
  const caller = async (): Promise<void> => {
    while (!over) {
      await client.status(session);
      calls++;
    }
  };
  const callers = [caller(), caller(), caller(), caller()];
  for (let i = 0; i < 5; i++) {
    const before = calls;
    await eventually("20 calls", () => calls >= before + 20);
    const { port } = server;
    await within("the drain", server.drain());
    server = await startServer(t, answer, { port });
  }
  over = true;
  await within("the callers", Promise.all(callers));
});
