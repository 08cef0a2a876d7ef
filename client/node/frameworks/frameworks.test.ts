import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { serve } from "@hono/node-server";
import express from "express";
import Fastify from "fastify";
import type { FastifyRequest } from "fastify";
import { Hono } from "hono";

import { Status } from "@verification-status/client";
import type { Client } from "@verification-status/client";
import { eventStreams, send } from "@verification-status/client/sse";
import type { Authorized } from "@verification-status/client/sse";
import { FakeServer } from "@verification-status/client/testing";

const ada: Authorized = { user: "ada", subject: { reference: "user-42" } };

/** Starts a program that streams at /events, and returns its server. */
type Program = (client: Client, t: TestContext) => Server | Promise<Server>;

const programs: Record<string, Program> = {
  "Node's http": (client) => {
    const events = eventStreams({ client, authorize: (_: IncomingMessage) => ada });
    return createServer((request, response) => send(events(request), response)).listen(0, "127.0.0.1");
  },
  Express: (client) => {
    const app = express();
    app.use((_, response, next) => {
      response.setHeader("x-site", "ours");
      next();
    });
    const events = eventStreams({
      client,
      authorize: (request: express.Request) => (request.path === "/events" ? ada : "forbidden"),
    });
    app.get("/events", (request, response) => send(events(request), response));
    return app.listen(0, "127.0.0.1");
  },
  Fastify: async (client, t) => {
    const app = Fastify({ forceCloseConnections: true });
    t.after(() => app.close());
    const events = eventStreams({
      client,
      authorize: (request: FastifyRequest) => (request.url === "/events" ? ada : "forbidden"),
    });
    app.get("/events", (request) => events(request));
    await app.listen({ port: 0, host: "127.0.0.1" });
    return app.server;
  },
  Hono: (client) => {
    const events = eventStreams({ client, authorize: (_: Request) => ada });
    const app = new Hono().get("/events", (c) => events(c.req.raw));
    return serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server;
  },
};

for (const [name, program] of Object.entries(programs)) {
  test(`streams through ${name}, and ends the watch when the browser leaves`, async (t) => {
    const service = await FakeServer.start();
    t.after(() => service.close());
    service.set({ sessionId: "vs_1", clientReferenceId: "user-42", status: Status.REQUIRES_INPUT });
    const server = await program(service.client(), t);
    t.after(() => server.close().closeAllConnections());
    if (!server.listening) await once(server, "listening");
    const leave = new AbortController();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
    const response = await fetch(url, { signal: leave.signal });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("x-site"), name === "Express" ? "ours" : null);
    await wantEvents(response, service);
    leave.abort();
    await noWatch(service);
  });
}

test("streams from a route handler of the Fetch standard, as Next calls it", async (t) => {
  const service = await FakeServer.start();
  t.after(() => service.close());
  service.set({ sessionId: "vs_1", clientReferenceId: "user-42", status: Status.REQUIRES_INPUT });
  const GET: (request: Request) => Promise<Response> = eventStreams({ client: service.client(), authorize: (_: Request) => ada });
  const leave = new AbortController();
  await wantEvents(await GET(new Request("https://site.example/events", { signal: leave.signal })), service);
  leave.abort();
  await noWatch(service);
});

/** Checks the first events, and that a change arrives at once. */
async function wantEvents(response: Response, service: FakeServer): Promise<void> {
  let text = "";
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  const want = async (part: RegExp): Promise<void> => {
    while (!part.test(text)) {
      const { value, done } = await reader.read();
      assert(!done, `the stream ended: ${text}; want ${part}`);
      text += value;
    }
  };
  await want(
    /^retry: \d+\n\nid: [\w-]+\nevent: status\ndata: {.*"STATUS_REQUIRES_INPUT".*}\n\nid: [\w-]+\nevent: live\ndata: {}\n\n$/,
  );
  service.set({ sessionId: "vs_1", status: Status.VERIFIED });
  await want(/"STATUS_VERIFIED".*\n\nid: [\w-]+\nevent: live\ndata: {}\n\n$/);
}

/** Waits until no watch is open. */
async function noWatch(service: FakeServer): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (service.streams.open > 0) {
    assert(Date.now() < deadline, "the watch continues");
    await new Promise(setImmediate);
  }
}
