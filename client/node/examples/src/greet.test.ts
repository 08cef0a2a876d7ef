import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "@verification-status/client";
import { fault, FakeServer } from "@verification-status/client/testing";
import { greet } from "./greet.js"; // your program: it takes a client

test("greets the verified, and does not know the others", async (t) => {
  const server = await FakeServer.start();
  t.after(() => server.close());
  const client = server.client();
  server.set({ sessionId: "vs_1", clientReferenceId: "user-42", status: Status.PROCESSING });
  assert.equal(await greet(client, "user-42"), "One moment, please.");
  server.set({ sessionId: "vs_1", status: Status.VERIFIED });
  assert.equal(await greet(client, "user-42"), "Welcome back!");
  server.fail(fault("STORE_UNAVAILABLE"));
  assert.equal(await greet(client, "user-42"), "We cannot look that up now.");
});
