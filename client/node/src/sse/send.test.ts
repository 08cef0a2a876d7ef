import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { send } from "./send.js";

function deferred() {
  let resolve = (): void => {};
  let reject = (_: unknown): void => {};
  const promise = new Promise<void>((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}

/** Serves with Node's http, and returns the address. */
async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  t.after(() => server.close().closeAllConnections());
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

test("sends status, headers and body, and keeps headers that were set before", async (t) => {
  const sent = deferred();
  const url = await serve(t, (_, to) => {
    to.setHeader("content-security-policy", "default-src 'none'");
    send(new Response("text\n", { status: 418, headers: { "x-tea": "pot" } }), to).then(sent.resolve, sent.reject);
  });
  const response = await fetch(url);
  assert.equal(response.status, 418);
  assert.equal(response.headers.get("x-tea"), "pot");
  assert.equal(response.headers.get("content-security-policy"), "default-src 'none'");
  assert.equal(await response.text(), "text\n");
  await sent.promise;
});

test("sends all cookies, and keeps those that were set before", async (t) => {
  const cookies = [["set-cookie", "a=1"], ["set-cookie", "b=2"]] as [string, string][];
  const before = { none: undefined, one: "z=0", several: ["y=0", "z=0"] };
  for (const [name, set] of Object.entries(before)) {
    const sent = deferred();
    const url = await serve(t, (_, to) => {
      if (set !== undefined) to.setHeader("Set-Cookie", set);
      send(new Response("text\n", { headers: cookies }), to).then(sent.resolve, sent.reject);
    });
    const response = await fetch(url);
    assert.deepEqual(response.headers.getSetCookie(), [...[set ?? []].flat(), "a=1", "b=2"], name);
    await sent.promise;
  }
});

test("sends nothing for a response that never is", async (t) => {
  const url = await serve(t, (_, to) => {
    send(Promise.reject(new Error("no response")), to).catch((error: Error) => to.writeHead(500).end(error.message));
  });
  const response = await fetch(url);
  assert.deepEqual([response.status, await response.text()], [500, "no response"]);
});

test("cuts the connection if the body fails", async (t) => {
  const sent = deferred();
  const url = await serve(t, (_, to) => {
    let pulls = 0;
    const body = new ReadableStream(
      {
        pull(controller) {
          if (pulls++ > 0) throw new Error("the body has failed");
          controller.enqueue(Buffer.from("some"));
        },
      },
      { highWaterMark: 0 },
    );
    send(new Response(body), to).then(sent.resolve, sent.reject);
  });
  await assert.rejects(fetch(url).then((response) => response.text()));
  await sent.promise;
});

test("cancels the body of a browser that has left", async (t) => {
  for (const when of ["before", "while"] as const) {
    const canceled = deferred();
    const left = deferred();
    const sent = deferred();
    const reached = deferred();
    const response = (): Response =>
      new Response(
        new ReadableStream({ pull: (c) => c.enqueue(Buffer.from("x")), cancel: () => canceled.resolve() }, { highWaterMark: 0 }),
      );
    const url = await serve(t, (_, to) => {
      to.once("close", left.resolve);
      reached.resolve();
      const answer = when === "before" ? left.promise.then(response) : response();
      send(answer, to).then(sent.resolve, sent.reject);
    });
    const leave = new AbortController();
    const asked = fetch(url, { signal: leave.signal });
    await (when === "while" ? asked : reached.promise);
    leave.abort();
    await asked.catch(() => {});
    await Promise.all([canceled.promise, sent.promise]);
  }
});

test("cuts the connection if the headers cannot be sent", async (t) => {
  const warned: string[] = [];
  const warn = t.mock.method(process, "emitWarning", (text: string) => void warned.push(text));
  for (const cookies of [[], [["set-cookie", "a=1"]]] as [string, string][][]) {
    const canceled = deferred();
    const sent = deferred();
    const url = await serve(t, (_, to) => {
      to.writeHead(200);
      to.write("x");
      const body = new ReadableStream({ cancel: () => canceled.resolve() }, { highWaterMark: 0 });
      send(new Response(body, { headers: cookies }), to).then(sent.resolve, sent.reject);
    });
    const broken = assert.rejects(fetch(url).then((response) => response.text()));
    await Promise.all([sent.promise, canceled.promise, broken]);
  }
  warn.mock.restore();
  assert.equal(warned.length, 2);
  for (const text of warned) assert.match(text, /^send: the program has sent headers before$/);
});

test("resolves for a body that has failed or is read already, also if the browser has left", async (t) => {
  t.mock.method(process, "emitWarning", () => {});
  const failed = (): Response => new Response(new ReadableStream({ start: (c) => c.error(new Error("the body has failed")) }));
  const read = (): Response => {
    const response = new Response("text");
    response.body?.getReader();
    return response;
  };
  for (const response of [failed, read]) {
    for (const gone of [false, true]) {
      const sent = deferred();
      const url = await serve(t, (_, to) => {
        if (gone) to.destroy();
        send(response(), to).then(sent.resolve, sent.reject);
      });
      await assert.rejects(fetch(url).then((answer) => answer.text()));
      await sent.promise;
    }
  }
});

test("sends through HTTP/2, no faster than the browser reads", async (t) => {
  let pulls = 0;
  const canceled = deferred();
  const sent = deferred();
  const server = http2.createServer((_, to) => {
    const chunk = Buffer.alloc(10_000, "x");
    const body = new ReadableStream(
      {
        pull(controller) {
          pulls++;
          controller.enqueue(chunk);
        },
        cancel: () => canceled.resolve(),
      },
      { highWaterMark: 0 },
    );
    send(new Response(body, { headers: { "content-type": "text/event-stream" } }), to).then(sent.resolve, sent.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => {
    session.close();
    server.close();
  });
  const request = session.request({ ":path": "/" }).pause();
  const [headers] = (await once(request, "response")) as [http2.IncomingHttpHeaders];
  assert.equal(headers["content-type"], "text/event-stream");
  for (let seen = 0; seen < 200_000;) {
    const [data] = (await once(request.resume(), "data")) as [Buffer];
    request.pause();
    seen += data.length;
  }
  const roundTrip = (): Promise<void> => new Promise((resolve) => session.ping(() => resolve()));
  await roundTrip();
  const before = pulls;
  for (let i = 0; i < 200; i++) await roundTrip();
  assert(
    pulls < 100 && pulls - before < 10,
    `${pulls} chunks were read for a browser that has read 20, ${pulls - before} of them late`,
  );
  request.close(http2.constants.NGHTTP2_CANCEL);
  await Promise.all([canceled.promise, sent.promise]);
});
