import assert from "node:assert/strict";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { create } from "@bufbuild/protobuf";

import { FullJitter } from "./backoff.js";
import { Connections } from "./connections.js";
import { Credentials } from "./credentials.js";
import { VerificationError } from "./errors.js";
import { WatchStatusRequestSchema } from "./gen/verification/v1/verification_pb.js";
import { connectTo, rejection, startServer, take, within } from "./help.rig.js";
import type { Server } from "./server.rig.js";
import { parseTarget } from "./target.js";
import { Tokens } from "./token.js";
import { Watch } from "./watch.js";

/** Returns a watch whose streams may be silent for a short time only. */
function impatient(t: TestContext, server: Server, seen: Error[]): { watch: Watch; signal: AbortSignal } {
  const credentials = new Credentials({ plaintext: true });
  const backoff = new FullJitter(5, 20);
  const connections = new Connections([parseTarget(server.target)], credentials, backoff);
  const ending = new AbortController();
  t.after(() => {
    ending.abort();
    connections.close();
  });
  const request = create(WatchStatusRequestSchema, { subject: { case: "sessionId", value: "vs_1" } });
  const watch = new Watch({ connections, tokens: new Tokens(undefined, credentials) }, backoff, request, {
    onInterruption: (error) => seen.push(error),
  });
  watch.silenceTimeout = 100;
  return { watch, signal: ending.signal };
}

test("a stream that falls silent is closed and resumed", async (t) => {
  let hangs = 0;
  const left: Promise<void>[] = [];
  const server = await startServer(t, {
    watchStatus: (stream) => {
      left.push(stream.left);
      if (stream.request.resumeToken === "") {
        stream.send({ sessionId: "vs_1", revision: 1 });
      } else if (hangs++ > 0) {
        stream.send({ sessionId: "vs_1", revision: 2 });
      }
    },
  });
  const seen: Error[] = [];
  const { watch, signal } = impatient(t, server, seen);
  const updates = await take(2, { [Symbol.asyncIterator]: () => watch.run(signal) });
  assert.deepEqual(
    updates.map(({ resumeToken }) => resumeToken),
    ["t1", "t2"],
  );
  const messages = seen.map((error) => error.message.split(":")[0]);
  // On a slow machine the first stream can be late too.
  assert.deepEqual(messages.slice(-2), ["the stream fell silent", "the stream got no response"]);
  await within("the end of the silent streams", Promise.all(left.slice(0, -1)));
});

test("the time of the loop body is no silence", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream) => {
      for (const revision of [1, 2, 3]) {
        stream.send({ sessionId: "vs_1", revision });
      }
    },
  });
  const seen: Error[] = [];
  const { watch, signal } = impatient(t, server, seen);
  watch.silenceTimeout = 1000; // the server answers within it, also on a slow machine
  const read = async (): Promise<void> => {
    for await (const { verification } of watch.run(signal)) {
      if (verification?.revision === 3) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1100)); // longer than the silence that is allowed
    }
  };
  await within("three updates", read());
  assert.deepEqual(seen, []);
  assert.equal(server.streams, 1);
});

test("a stream that falls silent after a slow loop body is resumed too", async (t) => {
  const server = await startServer(t, {
    watchStatus: (stream, number) => void (number < 3 && stream.send({ sessionId: "vs_1", revision: number })),
  });
  const seen: Error[] = [];
  const { watch, signal } = impatient(t, server, seen);
  watch.silenceTimeout = 500;
  const read = async (): Promise<void> => {
    for await (const { verification } of watch.run(signal)) {
      if (verification?.revision === 2) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 600)); // the timer of the stream has ended meanwhile
    }
  };
  await within("two updates", read());
  assert.match(seen[0]?.message ?? "", /silent/);
});

test("the heartbeat is what the caller asks for, within the contract's limits", async (t) => {
  const asked: (bigint | undefined)[] = [];
  const server = await startServer(t, {
    watchStatus: (stream) => {
      asked.push(stream.request.heartbeat?.seconds);
      stream.send({ sessionId: "vs_1", revision: 1 });
    },
  });
  const client = connectTo(t, server.target);
  for (const heartbeat of [undefined, 1, 20_000, 1e9]) {
    await take(1, client.watch({ session: "vs_1" }, { heartbeat }));
  }
  assert.deepEqual(asked, [30n, 5n, 20n, 300n]);
});

/** Starts a server that answers each request with a page of a proxy. */
async function proxyPage(t: TestContext, status: number): Promise<string> {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": status, "content-type": "text/html" });
    stream.end("<html><h1>A page of a proxy</h1></html>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

for (const [status, code] of [
  [200, "UNKNOWN"],
  [401, "UNAUTHENTICATED"],
  [403, "PERMISSION_DENIED"],
  [404, "UNIMPLEMENTED"],
  [500, "UNKNOWN"],
] as const) {
  test(`a page with HTTP status ${status} is ${code}, and not of the service`, async (t) => {
    const error = await rejection(connectTo(t, await proxyPage(t, status)).status({ session: "vs_1" }));
    assert.ok(error instanceof VerificationError);
    assert.deepEqual([error.code, error.fromService, error.reason], [code, false, undefined], error.message);
    assert.doesNotMatch(error.message, /<html>/);
  });
}
