import assert from "node:assert/strict";
import { constants, createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { UnavailableError } from "./errors.js";
import { RetryVerificationResponseSchema, WatchStatusResponseSchema } from "./gen/verification/v1/verification_pb.js";
import { connectTo, rejection, take } from "./help.rig.js";
import { encode } from "./wire.js";

/** Returns a message with the prefix that gRPC gives it: no compression, and its length. */
function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/**
 * Starts a server that refuses the first streams of the contract's calls, and answers later ones. It returns how many streams it
 * saw.
 */
async function refusing(t: TestContext, refuse: number): Promise<{ target: string; seen: string[] }> {
  const seen: string[] = [];
  const verification = { sessionId: "vs_1", revision: 1 };
  const answers: Record<string, Buffer> = {
    RetryVerification: encode(RetryVerificationResponseSchema, create(RetryVerificationResponseSchema, { verification })),
    WatchStatus: encode(
      WatchStatusResponseSchema,
      create(WatchStatusResponseSchema, { verification, resumeToken: "t1" } satisfies MessageInitShape<
        typeof WatchStatusResponseSchema
      >),
    ),
  };
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    const method = String(headers[":path"]).split("/").pop() ?? "";
    const answer = answers[method];
    if (answer === undefined) {
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12" }, { endStream: true });
      return;
    }
    seen.push(method);
    if (seen.length <= refuse) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.write(framed(answer));
    if (method !== "WatchStatus") {
      stream.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { target: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

test("a call that the server has refused is sent again, once", async (t) => {
  const once = await refusing(t, 1);
  assert.equal((await connectTo(t, once.target).retry("vs_1")).verification.revision, 1);
  assert.equal(once.seen.length, 2);

  const twice = await refusing(t, 2);
  assert.ok((await rejection(connectTo(t, twice.target).retry("vs_1"))) instanceof UnavailableError);
  assert.equal(twice.seen.length, 2);
});

test("a stream that the server has refused is no interruption, a second time it is", async (t) => {
  for (const [refuse, interruptions] of [
    [1, 0],
    [2, 1],
  ] as const) {
    const { target, seen } = await refusing(t, refuse);
    const interrupted: Error[] = [];
    await take(1, connectTo(t, target).watch({ session: "vs_1" }, { onInterruption: (error) => interrupted.push(error) }));
    assert.deepEqual([seen.length, interrupted.length], [refuse + 1, interruptions]);
  }
});
