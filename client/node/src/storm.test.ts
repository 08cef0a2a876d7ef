import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { connectTo, startServer, within } from "./help.rig.js";
import { proxyTo } from "./proxy.rig.js";

/** HTTP/2's frames: SETTINGS, its acknowledgement, and a GOAWAY after which the client can repeat each call. */
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
const goAway = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** Starts a proxy that accepts each connection and ends it in this way. */
async function storm(t: TestContext, end: (socket: Socket) => void): Promise<{ target: string; connections: number }> {
  const open = new Set<Socket>();
  const proxy = createServer((socket) => {
    seen.connections++;
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.once("data", () => {
      socket.write(settings);
      end(socket);
      socket.resume();
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.after(() => {
    open.forEach((socket) => socket.destroy());
    proxy.close();
  });
  const seen = { target: `127.0.0.1:${(proxy.address() as AddressInfo).port}`, connections: 0 };
  return seen;
}

const ends: Record<string, (socket: Socket) => void> = {
  "GOAWAY at once": (socket) => socket.write(goAway),
  "GOAWAY a moment later": (socket) => setTimeout(() => socket.write(goAway), 3),
  "closed at once": (socket) => socket.end(),
  "closed a moment later": (socket) => setTimeout(() => socket.end(), 3),
};

for (const [name, end] of Object.entries(ends)) {
  test(`a proxy that ends each connection gets few: ${name}`, async (t) => {
    const proxy = await storm(t, end);
    const client = connectTo(t, proxy.target, { plaintext: true });
    const calls = Array.from({ length: 5 }, () => client.status({ session: "vs_1" }, { timeout: 1000 }));
    const results = await within("the calls", Promise.allSettled(calls));
    assert.ok(results.every((result) => result.status === "rejected"));
    // Only the ceilings of the waits are sure: that nine of them are over within a second has a chance of one in 10^8.
    assert.ok(proxy.connections >= 1 && proxy.connections <= 10, `${proxy.connections} connections in a second`);
  });
}

test("a connection that has answered a call is opened again at once for the next one", async (t) => {
  const server = await startServer(t, { getStatus: () => ({ verification: { sessionId: "vs_1" } }) });
  const proxy = await proxyTo(t, server);
  const client = connectTo(t, proxy.target, { plaintext: true, backoff: { base: 60_000, max: 60_000 } });
  for (let i = 1; i <= 3; i++) {
    await within("an answer", client.status({ session: "vs_1" }));
    assert.equal(proxy.connections, i);
    proxy.cut();
  }
});
