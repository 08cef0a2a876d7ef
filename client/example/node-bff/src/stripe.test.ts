import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Stripe, StripeError } from "./stripe.js";

async function serve(t: TestContext, handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const create = (base: string, signal = AbortSignal.timeout(20_000)) =>
  new Stripe({ base, key: "sk_test_1" }).create("web-1", "http://127.0.0.1/", signal);

test("a redirect is not followed: the key would be sent too", async (t) => {
  let asked = 0;
  const elsewhere = await serve(t, (_, response) => { asked++; response.end("{}"); });
  for (const status of [301, 302, 303, 307, 308]) {
    const lying = await serve(t, (_, response) => response.writeHead(status, { Location: elsewhere }).end());
    await assert.rejects(create(lying), StripeError, String(status));
  }
  assert.equal(asked, 0);
});

test("a repeated 500 is no dead end, and a first one is not repeated", async (t) => {
  const keys: unknown[] = [];
  const base = await serve(t, (request, response) => {
    keys.push(request.headers["idempotency-key"]);
    if (keys.at(-1) !== "web-1") return response.end('{"url":"https://verify.stripe.test/start/2"}');
    response.writeHead(500, keys.length > 1 ? { "Idempotent-Replayed": "true" } : {}).end('{"error":{"message":"an error"}}');
  });
  await assert.rejects(create(base), /Stripe did not create a session: 500 an error/);
  assert.equal(await create(base), "https://verify.stripe.test/start/2");
  assert.deepEqual(keys, ["web-1", "web-1", "web-1-2"]);
});

test("an answer that is none is an error, and shows no key", async (t) => {
  const long = `"${"x".repeat(300 << 10)}"`;
  for (const [body, want] of [["<html>", "not JSON"], ["null", "without a link"], ["{}", "without a link"], ['{"url":7}', "without a link"], ["{", "not JSON"], [long, "262144 bytes"]]) {
    const base = await serve(t, (_, response) => response.end(body));
    await assert.rejects(create(base), (error: Error) => error.message.includes(want ?? "") && !error.message.includes("sk_test"), want);
  }
  await assert.rejects(create("http://127.0.0.1:1"), /ECONNREFUSED|bad port/);
});

test("an aborted signal ends the call", async (t) => {
  const gone = new AbortController();
  const base = await serve(t, () => gone.abort());
  await assert.rejects(create(base, gone.signal), StripeError);
});
