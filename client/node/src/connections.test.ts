import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, credentials } from "@grpc/grpc-js";

import type { Verification } from "./gen/verification/v1/verification_pb.js";
import { connectTo, startServer, take, within } from "./help.rig.js";
import { proxyTo } from "./proxy.rig.js";
import type { Behaviour } from "./server.rig.js";
import { announcedStreams } from "./stream-limit.js";
import type { Update } from "./update.js";

const session = { session: "vs_1" };

/** A server that answers with its name. */
function named(name: string, more: Behaviour = {}): Behaviour {
  return {
    getStatus: () => ({ verification: { sessionId: name } }),
    watchStatus: (stream) => stream.send({ sessionId: name, revision: 1 }),
    ...more,
  };
}

/** Returns how many of some calls each server got. */
async function spread(calls: number, call: () => Promise<Verification>): Promise<Record<string, number>> {
  const spread: Record<string, number> = {};
  for (let i = 0; i < calls; i++) {
    const { sessionId } = await call();
    spread[sessionId] = (spread[sessionId] ?? 0) + 1;
  }
  return spread;
}

test("calls go to all addresses in turn", async (t) => {
  const servers = [
    await startServer(t, named("a", { health: () => "SERVING" })),
    await startServer(t, named("b", { health: () => "SERVING" })),
  ];
  for (const target of [servers.map((server) => server.target), `ipv4:${servers.map((server) => server.target).join(",")}`]) {
    const client = connectTo(t, target);
    const read = (): Promise<Verification> => client.status(session);
    await eventuallyBoth(read);
    assert.deepEqual(await spread(10, read), { a: 5, b: 5 });
  }
});

/** Waits until both servers have answered. */
async function eventuallyBoth(read: () => Promise<Verification>): Promise<void> {
  const seen = new Set<string>();
  const until = async (): Promise<void> => {
    while (seen.size < 2) {
      seen.add((await read()).sessionId);
    }
  };
  await within("both servers", until());
}

test("one address dies: the other has all calls, and watches resume there", async (t) => {
  const a = await startServer(t, named("a"));
  const b = await startServer(t, named("b"));
  const client = connectTo(t, [a.target, b.target]);
  await eventuallyBoth(() => client.status(session));
  const loops = [client.watch(session), client.watch(session)].map((watch) => watch[Symbol.asyncIterator]());
  const first = await Promise.all(loops.map((loop) => within("an update", loop.next())));
  assert.deepEqual(first.map((step) => step.value?.verification.sessionId).sort(), ["a", "b"]);
  const next = loops.map((loop) => loop.next());
  a.stop();
  const moved = await within("the watch of the dead server", Promise.any(next));
  assert.equal(moved.value?.verification.sessionId, "b");
  assert.deepEqual(await spread(6, () => client.status(session)), { b: 6 });
  await Promise.all(loops.map((loop) => loop.return?.()));
});

test("a server that is not serving gets calls only if there is no better one", async (t) => {
  let health: "SERVING" | "NOT_SERVING" = "SERVING";
  const a = await startServer(t, named("a", { health: () => "NOT_SERVING" }));
  const b = await startServer(t, named("b", { health: () => health }));
  const client = connectTo(t, [a.target, b.target]);
  const seen = new Set<string>();
  await within(
    "the serving one",
    (async () => {
      while (!seen.has("b")) seen.add((await client.status(session)).sessionId);
    })(),
  );
  assert.deepEqual(await spread(6, () => client.status(session)), { b: 6 });
  health = "NOT_SERVING";
  const alone = connectTo(t, a.target);
  assert.deepEqual(await spread(2, () => alone.status(session)), { a: 2 });
});

test("a server without the health service is used", async (t) => {
  const server = await startServer(t, named("a"));
  assert.deepEqual(await spread(2, () => connectTo(t, server.target).status(session)), { a: 2 });
});

test("the announced limit of streams is read", async (t) => {
  const server = await startServer(t, {}, { options: { "grpc.max_concurrent_streams": 17 } });
  const client = new Client(server.target, credentials.createInsecure());
  t.after(() => client.close());
  await new Promise<void>((resolve, reject) =>
    client.waitForReady(Date.now() + 5000, (error) => (error ? reject(error) : resolve())),
  );
  assert.equal(announcedStreams(client.getChannel()), 17, "grpc-js keeps the limit in other fields than this package reads");
});

test("further connections are opened when the streams of one are used up", async (t) => {
  const server = await startServer(t, named("a", { health: () => "SERVING" }), { options: { "grpc.max_concurrent_streams": 10 } });
  const proxy = await proxyTo(t, server);
  const client = connectTo(t, proxy.target);
  const loops = Array.from({ length: 40 }, () => client.watch(session)[Symbol.asyncIterator]());
  await within("40 watches", Promise.all(loops.map((loop) => loop.next())), 20_000);
  assert.equal(proxy.connections, 5, "8 watches on each: one stream is the health watch's, and one is kept for unary calls");
  assert.deepEqual(await spread(10, () => client.status(session)), { a: 10 });
  assert.equal(proxy.connections, 5);
  await Promise.all(loops.map((loop) => loop.return?.()));
});

test("a stream limit of one leaves no room for the health watch", async (t) => {
  const server = await startServer(t, named("a", { health: () => "SERVING" }), { options: { "grpc.max_concurrent_streams": 1 } });
  const client = connectTo(t, server.target);
  assert.deepEqual(await spread(3, () => client.status(session)), { a: 3 });
  await take(1, client.watch(session));
});

test("a connection that is cut is opened again, and no update is lost", async (t) => {
  const server = await startServer(t, { ...named("a"), watchStatus: follow });
  const proxy = await proxyTo(t, server);
  const client = connectTo(t, proxy.target);
  const revisions: number[] = [];
  const read = async (): Promise<void> => {
    for await (const { verification } of client.watch(session)) {
      revisions.push(verification.revision);
      if (verification.revision % 10 === 0) {
        proxy.cut();
      }
      if (verification.revision >= 50) {
        return;
      }
    }
  };
  await within("50 updates", read());
  assert.deepEqual(
    revisions,
    Array.from({ length: 50 }, (_, i) => i + 1),
  );
  assert.ok(proxy.connections > 1);
});

/** Sends the revisions after the token, one each millisecond. */
function follow(stream: Parameters<NonNullable<Behaviour["watchStatus"]>>[0]): void {
  let revision = Number(stream.request.resumeToken.slice(1));
  const timer = setInterval(() => stream.send({ sessionId: "vs_1", revision: ++revision }), 1);
  void stream.left.then(() => clearInterval(timer));
}

/** A server that sends revisions of 1 KB as fast as the client reads. It counts what it could send of each session. */
function flood(accepted: Map<string, number>): Behaviour {
  const padding = "x".repeat(1000);
  return {
    watchStatus: (stream) => {
      const session = String(stream.request.subject.value);
      let isOver = false;
      void stream.left.then(() => (isOver = true));
      const write = (): void => {
        let isRoom = true;
        for (let i = 0; i < 100 && isRoom && !isOver; i++) {
          const revision = (accepted.get(session) ?? 0) + 1;
          accepted.set(session, revision);
          isRoom = stream.send({ sessionId: session, revision, clientReferenceId: padding });
        }
        if (isRoom && !isOver) {
          setImmediate(write);
        }
      };
      stream.onDrain(write);
      write();
    },
  };
}

/** Reads a number of updates, which must be the next revisions. */
async function readOn(loop: AsyncIterator<Update>, from: number, to: number): Promise<void> {
  for (let revision = from; revision <= to; revision++) {
    const { value } = await within("an update", loop.next());
    assert.equal(value?.verification.revision, revision);
  }
}

test("a reader that stops reading holds up the server, and no other reader", async (t) => {
  const accepted = new Map<string, number>();
  const server = await startServer(t, flood(accepted));
  const client = connectTo(t, server.target);
  const [slow, other] = ["slow", "other"].map((session) => client.watch({ session })[Symbol.asyncIterator]());
  assert.ok(slow && other);
  await readOn(slow, 1, 1);
  await readOn(other, 1, 3000);
  const sent = accepted.get("slow") ?? 0;
  assert.ok(sent > 5 && sent < 400, `the server could send ${sent} KB while nobody read`);
  await readOn(slow, 2, 2000);
  assert.equal(server.streams, 2, "no stream was resumed");
  await Promise.all([slow.return?.(), other.return?.()]);
});

test("a server that restarts has the next call", async (t) => {
  const server = await startServer(t, named("a"));
  const client = connectTo(t, server.target);
  await client.status(session);
  server.stop();
  await startServer(t, named("b"), { port: server.port });
  assert.deepEqual(await spread(2, () => client.status(session)), { b: 2 });
});
