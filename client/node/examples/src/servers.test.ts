// The lines of README.md for other servers: each sends a browser the status of user-42.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import Fastify, { type FastifyRequest } from "fastify";
import { Hono } from "hono";
import { Status, type Client } from "@verification-status/client";
import { eventStreams, send } from "@verification-status/client/sse";
import { FakeServer } from "@verification-status/client/testing";

const authorize = () => ({ user: "user-42", subject: { reference: "user-42" } });

/** show expects the status of a processing person, and then leaves. The service must then see the end of the watch. */
async function show(t: TestContext, serve: (client: Client) => Promise<Response>): Promise<void> {
  const service = await FakeServer.start();
  t.after(() => service.close());
  service.set({ sessionId: "vs_1", clientReferenceId: "user-42", status: Status.PROCESSING });
  const response = await serve(service.client());
  assert.equal(response.headers.get("Content-Type"), "text/event-stream");
  let text = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
    if (text.includes("STATUS_PROCESSING")) break; // it cancels the body: the browser has left
  }
  assert.match(text, /event: status\ndata: .*STATUS_PROCESSING/);
  const limit = AbortSignal.timeout(20_000);
  while (service.streams.open > 0) {
    limit.throwIfAborted();
    await new Promise(setImmediate);
  }
}

async function ask(t: TestContext, server: ReturnType<typeof createServer>): Promise<Response> {
  if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/events`, { signal: AbortSignal.timeout(20_000) });
}

test("node:http", (t) => show(t, (client) => {
  const events = eventStreams<IncomingMessage>({ client, authorize });
  return ask(t, createServer((request, response) => send(events(request), response)));
}));

test("Express, with the browser's address", (t) => show(t, (client) => {
  const events = eventStreams({
    client,
    authorize: (request: express.Request) => ({ user: "user-42", address: request.ip, subject: { reference: "user-42" } }),
  });
  const app = express();
  app.get("/events", (request, response) => send(events(request), response));
  return ask(t, createServer(app));
}));

test("Fastify", (t) => show(t, async (client) => {
  const events = eventStreams<FastifyRequest>({ client, authorize });
  const fastify = Fastify();
  fastify.get("/events", (request) => events(request));
  await fastify.listen({ port: 0, host: "127.0.0.1" });
  return ask(t, fastify.server);
}));

test("Hono", (t) => show(t, (client) => {
  const events = eventStreams<Request>({ client, authorize });
  const app = new Hono();
  app.get("/events", (c) => events(c.req.raw));
  return ask(t, createServer(getRequestListener(app.fetch)));
}));

test("a route handler of Next gets a Request and returns a Response", (t) => show(t, (client) => {
  const events = eventStreams<Request>({ client, authorize });
  const GET = events;
  return GET(new Request("http://127.0.0.1/events"));
}));
