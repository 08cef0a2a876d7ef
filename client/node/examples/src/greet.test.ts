import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrorCode, Status } from "@verification-status/client";
import { fault, FakeServer } from "@verification-status/client/testing";
import { greet } from "./greet.js";

test("greets the verified, and tells the others why not", async (t) => {
  const server = await FakeServer.start();
  t.after(() => server.close());
  const client = server.client();
  server.set({ sessionId: "vs_1", clientReferenceId: "user-42", status: Status.PROCESSING });
  assert.equal(await greet(client, "user-42"), "One moment, please.");
  const lastError = { code: ErrorCode.DOCUMENT_EXPIRED, reason: "The document is expired." };
  server.set({ sessionId: "vs_1", status: Status.REQUIRES_INPUT, lastError });
  assert.equal(await greet(client, "user-42"), "The document is expired. Please try again.");
  server.set({ sessionId: "vs_1", status: Status.VERIFIED });
  assert.equal(await greet(client, "user-42"), "Welcome back!");
  server.fail(fault("STORE_UNAVAILABLE")); // the client repeats the call first: about a second
  assert.equal(await greet(client, "user-42"), "We cannot look that up now.");
});
