import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { Client, credentials, status } from "@grpc/grpc-js";

import {
  ComparisonLimitError,
  ConsumerNotFoundError,
  MatchResult,
  NotFoundError,
  OutcomeChangedError,
  ResolutionKind,
  RetryDenial,
  Status,
  StripeRefusedError,
  VerificationError,
  connect,
} from "../index.js";
import type { Update } from "../index.js";
import { FakeServer, Fault, fault, outcomeChanged, retryDenied, stripeRefused } from "./index.js";
import type { FakeServerOptions } from "./index.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED, CANCELED } = Status;

async function start(t: TestContext, options?: FakeServerOptions): Promise<FakeServer> {
  const server = await FakeServer.start(options);
  t.after(() => server.close());
  return server;
}

/** Reads the updates of a watch one by one. The watch ends with the test. */
function reader(t: TestContext, updates: AsyncIterable<Update>): () => Promise<Update> {
  const iterator = updates[Symbol.asyncIterator]();
  t.after(() => iterator.return?.());
  return async () => {
    const { value, done } = await iterator.next();
    assert(!done, "the watch has ended");
    return value as Update;
  };
}

test("makes revisions", async (t) => {
  const server = await start(t);
  const first = server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  assert.deepEqual(server.set({ sessionId: "vs_1", status: REQUIRES_INPUT }), first, "the same state makes no revision");
  const last = server.set({ sessionId: "vs_1", status: VERIFIED });
  assert.deepEqual([first.revision, last.revision, first.settled, last.settled], [1, 2, false, true]);
  last.status = CANCELED; // a copy
  assert.equal((await server.client().status({ session: "vs_1" })).status, VERIFIED);
  assert.throws(() => server.set({ sessionId: "pi_1" }), /TypeError: set: sessionId "pi_1"/);
  await assert.rejects(server.client().status({ session: "vs_2" }), NotFoundError);
});

test("resumes watches over cuts, crashes, drains and another address", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const second = await server.listen("127.0.0.2:0");
  const reasons: (string | undefined)[] = [];
  const onInterruption = (error: unknown): void => void reasons.push((error as VerificationError).reason);
  const next = reader(t, server.client().watch({ session: "vs_1" }, { onInterruption }));
  assert.equal((await next()).verification.revision, 1);
  const faults: (() => unknown)[] = [
    () => server.cutStreams(),
    () => server.cutStreams(fault("STREAM_EXPIRED")),
    () => server.cutStreams(new Fault(status.INTERNAL, "a proxy's")),
    () => server.stop(),
    () => server.start(),
    () => second.drain(),
    () => second.start(),
    () => server.drain(),
    () => Promise.all([server.start(), second.stop()]),
  ];
  for (const [i, act] of faults.entries()) {
    await act();
    server.set({ sessionId: "vs_1", status: i % 2 === 0 ? PROCESSING : REQUIRES_INPUT });
    const { verification, reset } = await next();
    assert.deepEqual([verification.revision, reset], [i + 2, false], `after fault ${i}`);
  }
  assert.deepEqual(reasons.slice(0, 3), ["DRAINING", "STREAM_EXPIRED", undefined]);
  server.expireTokens();
  server.cutStreams();
  const { verification, reset } = await next();
  assert.deepEqual([verification.revision, reset], [faults.length + 1, true]);
});

test("drains: ends the watches of one address, and lets calls finish", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const url = "https://verify.example/late";
  const answers: (() => void)[] = [];
  const asked = new Promise<void>((resolve) => {
    server.onRetry(() => {
      resolve();
      return new Promise((answer) => answers.push(() => answer({ verification: { sessionId: "vs_1" }, url })));
    });
  });
  const other = await server.listen();
  const elsewhere = connect(other.target, { plaintext: true });
  t.after(() => elsewhere.close());
  const untouched = reader(t, elsewhere.watch({ session: "vs_1" }, { onInterruption: (error) => assert.fail(String(error)) }));
  await untouched();
  const client = connect(server.target, { plaintext: true });
  t.after(() => client.close());
  const lost = new Promise<unknown>((onInterruption) => {
    const next = reader(t, client.watch({ session: "vs_1" }, { onInterruption }));
    next()
      .then(next)
      .catch(() => {});
  });
  await server.awaitStreams(2);
  const retried = client.retry("vs_1");
  await asked;
  const drained = server.drain();
  assert.equal(((await lost) as VerificationError).reason, "DRAINING");
  answers[0]?.();
  assert.equal((await retried).url.reveal(), url);
  await drained;
  server.set({ sessionId: "vs_1", status: VERIFIED });
  assert.equal((await untouched()).verification.status, VERIFIED);
  await assert.rejects(client.status({ session: "vs_1" }, { timeout: 100 }), VerificationError);
});

test("reports its health on the wire", async (t) => {
  const server = await start(t);
  const client = new Client(server.target, credentials.createInsecure());
  t.after(() => client.close());
  const request = (name: string): Buffer => Buffer.from([0x0a, name.length, ...Buffer.from(name)]);
  const pass = (bytes: Buffer): Buffer => bytes;
  const check = (name: string): Promise<number | Error> =>
    new Promise((resolve) =>
      client.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        pass,
        pass,
        request(name),
        { deadline: Date.now() + 30_000 },
        (error, bytes) => resolve(error ?? (bytes as Buffer)[1] ?? 0),
      ),
    );
  const name = "verification.v1.VerificationService";
  assert.equal(await check(name), 1);
  assert.equal(await check(""), 1);
  assert.equal(((await check("another")) as { code?: number }).code, status.NOT_FOUND);
  const watch = client.makeServerStreamRequest("/grpc.health.v1.Health/Watch", pass, pass, request(name), {
    deadline: Date.now() + 30_000,
  });
  const seen = watch[Symbol.asyncIterator]();
  assert.equal((await seen.next()).value[1], 1);
  server.setReady(false);
  assert.equal((await seen.next()).value[1], 2);
  assert.equal(await check(name), 2);
  watch.on("error", () => {}).cancel();
});

test("fails when the test says so", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_1", status: VERIFIED });
  const client = server.client();
  server.failNext(fault("INTERNAL"), fault("STRIPE_REFUSED"));
  await assert.rejects(client.status({ session: "vs_1" }), { reason: "INTERNAL", fromService: true });
  await assert.rejects(client.status({ session: "vs_1" }), StripeRefusedError);
  assert.equal((await client.status({ session: "vs_1" })).revision, 1);
  server.fail(new Fault(status.PERMISSION_DENIED, "a proxy's"));
  await assert.rejects(client.status({ session: "vs_1" }), { code: "PERMISSION_DENIED", reason: undefined, fromService: false });
  server.fail(undefined);
  for (const [made, wanted] of [
    [retryDenied(RetryDenial.COOLDOWN, { wait: 60_000 }), { denial: RetryDenial.COOLDOWN }],
    [retryDenied(RetryDenial.SUPERSEDED, { supersededBy: "vs_2" }), { denial: RetryDenial.SUPERSEDED, supersededBy: "vs_2" }],
    [stripeRefused("no_link"), { metadata: { stripe_code: "no_link" } }],
    [outcomeChanged(3), { reason: "CONFLICT", metadata: { outcome_revision: "3" } }],
  ] as const) {
    server.onRetry(() => {
      throw made;
    });
    await assert.rejects(client.retry("vs_1"), wanted);
  }
  server.onRetry(undefined);
  await assert.rejects(client.retry("vs_1"), { denial: RetryDenial.ALREADY_VERIFIED });
});

test("answers operators and comparisons", async (t) => {
  const server = await start(t);
  server.nameCallers((headers) => headers["authorization"] ?? "");
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const client = server.client({ token: "ada" });
  const resolved = await client.operator.resolve("vs_1", ResolutionKind.DECLINED);
  assert.equal(resolved.resolution?.principal, "Bearer ada");
  await assert.rejects(client.operator.allowRetry("vs_1", { seenOutcome: 9 }), OutcomeChangedError);
  server.set({ sessionId: "vs_2", status: VERIFIED });
  server.setOutputs("vs_2", { firstName: "Ada" });
  assert.deepEqual(
    (await client.compare("vs_2", { firstName: "Ada" })).map(({ result }) => result),
    [MatchResult.MATCH],
  );
  server.onCompare(() => ({ fields: [{ field: "first_name", result: MatchResult.CLOSE }] }));
  assert.deepEqual(
    (await client.compare("vs_2", { firstName: "Adam" })).map(({ result }) => result),
    [MatchResult.CLOSE],
  );
  server.onCompare(() => {
    throw fault("COMPARISON_LIMIT");
  });
  await assert.rejects(client.compare("vs_2", { firstName: "Adam" }), ComparisonLimitError);
});

test("consumes: redelivers, takes over, and ends with its consumer", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_0", status: VERIFIED }); // before the consumer
  const handled: string[] = [];
  const arrived = new Map<string, () => void>();
  const run = (signal?: AbortSignal): Promise<void> =>
    server.client().consume(
      "mail",
      async (update) => {
        handled.push(update.verification.sessionId);
        arrived.get(update.verification.sessionId)?.();
      },
      { signal },
    );
  const change = async (sessionId: string): Promise<void> => {
    const done = new Promise<void>((resolve) => arrived.set(sessionId, resolve));
    server.set({ sessionId, status: VERIFIED });
    await done;
  };
  const stopping = new AbortController();
  const first = run(stopping.signal);
  await server.awaitStreams(1);
  await change("vs_1");
  server.cutStreams();
  await change("vs_2");
  stopping.abort();
  await first;
  const second = run();
  await change("vs_3");
  assert.deepEqual(handled, ["vs_1", "vs_2", "vs_3"]);
  server.deleteConsumer("mail");
  await assert.rejects(second, ConsumerNotFoundError);
  assert.throws(() => server.holdConsumer("mail", true), TypeError);
});

test("keeps all for a watch that reads slowly", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const next = reader(t, server.client().watch({ session: "vs_1" }, { onInterruption: (error) => assert.fail(String(error)) }));
  await next();
  const reason = "x".repeat(10_000);
  for (let i = 0; i < 2_000; i++) server.set({ sessionId: "vs_1", lastError: { reason: reason + (i % 2) } });
  for (let revision = 2; revision <= 2_001; revision++) assert.equal((await next()).verification.revision, revision);
});

test("serves over IPv6 and by name", async (t) => {
  for (const address of ["[::1]:0", "localhost:0"]) {
    const server = await start(t, { address }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRNOTAVAIL") throw error; // a machine without IPv6
    });
    if (server === undefined) continue;
    server.set({ sessionId: "vs_1", status: VERIFIED });
    assert.equal((await server.client().status({ session: "vs_1" })).revision, 1, server.target);
    await server.stop();
    await server.start();
    assert.match(server.target, address.startsWith("[") ? /^\[::1\]:\d+$/ : /:\d+$/);
  }
});

test("waits for watches", async (t) => {
  const server = await start(t);
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const waiting = server.awaitStreams(1);
  const next = reader(t, server.client().watch({ session: "vs_1" }));
  await Promise.all([waiting, next()]);
  assert.deepEqual(server.streams, { open: 1, opened: 1 });
  await assert.rejects(server.awaitStreams(2, AbortSignal.abort(new Error("enough"))), /enough/);
});

test("closes at once, twice, and by itself", async (t) => {
  let target: string;
  {
    await using server = await FakeServer.start();
    target = server.target;
    server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
    const watching = server.client().watch({ session: "vs_1" });
    const next = reader(t, watching);
    await next();
    const ended = assert.rejects(next(), VerificationError);
    await server.close();
    await ended;
  }
  const again = await FakeServer.start({ address: target }); // the port is free
  await assert.rejects(FakeServer.start({ address: target }), /EADDRINUSE/);
  await again.close();
});
