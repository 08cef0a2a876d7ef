import assert from "node:assert/strict";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Status } from "../gen/verification/v1/verification_pb.js";
import { FakeServer } from "../testing/index.js";
import { eventStreams } from "./index.js";
import { Site } from "./site.rig.js";

const { REQUIRES_INPUT, PROCESSING } = Status;
const hour = 3_600_000;

test("ends the stream with the user's session", async (t) => {
  const session = new AbortController();
  const site = await Site.start(t, {
    times: { live: hour }, // nothing else wakes the stream
    authorize: () => {
      if (session.signal.aborted) return "not_signed_in";
      return { user: "ada", subject: { session: "vs_1" }, session: session.signal };
    },
  });
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status");
  session.abort();
  await b.want("end", '"reason":"signed_out"');
  await b.wantEnd();
  await b.connect();
  assert.equal(b.response.status, 401);
});

test("ends the stream with the program", async (t) => {
  const stopping = new AbortController();
  const site = await Site.start(t, { signal: stopping.signal });
  site.set(REQUIRES_INPUT);
  const b = await site.browser();
  await b.want("status");
  stopping.abort();
  await b.wantEnd(); // and no word of signing out
  await b.connect();
  await b.wantEnd();
});

test("cuts a browser that reads nothing", async (t) => {
  const site = await Site.start(t, { times: { write: 50 } });
  site.set(REQUIRES_INPUT);
  const socket = connect((site.web.address() as AddressInfo).port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.pause();
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const closed = new Promise((resolve) => site.web.once("connection", (accepted) => accepted.once("close", resolve)));
  await site.backend.awaitStreams(1); // else it begins with the last status alone
  for (let i = 0; i < 1_200; i++) {
    // 12 MB: more than the buffers in between
    site.backend.set({ sessionId: "vs_1", lastError: { reason: "x".repeat(10_000) + (i % 2) } });
  }
  const late = setTimeout(() => socket.destroy(new Error("the stream of a browser that takes nothing continues")), 20_000);
  await closed;
  clearTimeout(late);
  assert.equal(socket.errored, null);
});

/** Starts a fake with a session, and a bridge without a web server. */
async function bare(t: Parameters<typeof Site.start>[0]) {
  const server = await FakeServer.start();
  t.after(() => server.close());
  server.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const events = eventStreams({ client: server.client(), authorize: () => ({ user: "ada", subject: { session: "vs_1" } }) });
  return { server, events };
}

/** Waits until no watch is open. */
async function noWatch(server: FakeServer): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (server.streams.open > 0) {
    assert(Date.now() < deadline, "the watch continues");
    await new Promise(setImmediate);
  }
}

test("begins no watch for a response that nobody reads", async (t) => {
  const { server, events } = await bare(t);
  const response = await events(new Request("http://site/"));
  assert.equal(response.status, 200);
  const read = await events(new Request("http://site/"));
  const reader = (read.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await reader.read();
  assert.deepEqual(server.streams, { open: 1, opened: 1 });
  await reader.cancel();
  await noWatch(server);
});

test("ends the watch with the request's signal", async (t) => {
  const { server, events } = await bare(t);
  const gone = new AbortController();
  const response = await events(new Request("http://site/", { signal: gone.signal }));
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await reader.read();
  const last = reader.read();
  gone.abort();
  assert.deepEqual(await last, { value: undefined, done: true });
  await noWatch(server);
  const late = await events(new Request("http://site/", { signal: gone.signal }));
  assert.equal(await late.text(), "");
});

test("reads no further ahead than the browser", async (t) => {
  const { server, events } = await bare(t);
  let yielded = 0;
  const client = server.client();
  const counted = {
    ready: () => client.ready(),
    watch: async function* (...[subject, options]: Parameters<typeof client.watch>) {
      for await (const update of client.watch(subject, options)) {
        yielded++;
        yield update;
      }
    },
  } as Pick<typeof client, "ready" | "watch">;
  const slow = eventStreams({ client: counted, authorize: () => ({ user: "bob", subject: { session: "vs_1" } }) });
  const reader = ((await slow(new Request("http://site/"))).body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await reader.read(); // revision 1
  for (let i = 0; i < 100; i++) server.set({ sessionId: "vs_1", status: i % 2 === 0 ? PROCESSING : REQUIRES_INPUT });
  const other = ((await events(new Request("http://site/"))).body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  for (let text = ""; !text.includes('"revision":101');) text = decoder.decode((await other.read()).value); // all has arrived
  assert(yielded <= 2, `${yielded} updates were read for a browser that read one`);
  await Promise.all([reader.cancel(), other.cancel()]);
});
