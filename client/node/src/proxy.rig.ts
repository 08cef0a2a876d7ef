import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** Proxy passes on TCP connections to a server, and cuts them when a test says so. */
export interface Proxy {
  readonly target: string;
  /** The number of connections so far. */
  readonly connections: number;
  /** Resets all connections. */
  cut(): void;
}

/** Starts a proxy that stops with the test. */
export async function proxyTo(t: TestContext, server: { readonly port: number }): Promise<Proxy> {
  const open = new Set<Socket>();
  let connections = 0;
  const proxy = createServer((near) => {
    connections++;
    const far = connect(server.port, "127.0.0.1");
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const cut = (): void => {
    for (const socket of open) {
      socket.resetAndDestroy();
    }
  };
  t.after(() => {
    cut();
    proxy.close();
  });
  return {
    target: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    cut,
  };
}
