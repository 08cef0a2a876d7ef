/**
 * A fake verification-status for tests: a real gRPC server on loopback. It keeps the sessions that the test sets, sends their changes to
 * open streams, and fails when the test says so. A program under test uses the real client, with its connections, resuming and errors.
 *
 * ```ts
 * import { test } from "node:test";
 * import { Status } from "@verification-status/client";
 * import { FakeServer } from "@verification-status/client/testing";
 *
 * test("greets the verified", async () => {
 *   await using server = await FakeServer.start();
 *   server.set({ sessionId: "vs_1", status: Status.VERIFIED });
 *   await greet(server.client(), "vs_1");
 * });
 * ```
 *
 * The server keeps the contract: revisions from 1 without gaps, resume tokens, reasons and details of errors, retries and replacements
 * with the service's default settings, lists, outcomes, filters, comparisons, and named consumers. A test of this package sends the same
 * requests to it and to the fake of the Go client, which the service's own tests compare with the service.
 *
 * It does not know Stripe, and the rules by which events become a status: the test sets the status.
 *
 * @module
 */
export type { CompareAnswer } from "./comparison.js";
export { FakeServer } from "./fake.js";
export { Fault, fault, outcomeChanged, retryDenied, stripeRefused } from "./fault.js";
export type { FakeServerOptions, Replica } from "./replica.js";
export type { RetryAnswer } from "./retry.js";
export type { NameCaller } from "./state.js";
