import { createServer, type RequestListener, type Server } from "node:http";

/** linkTimeout bounds the work for one link, in ms. It is longer than a repeated call to Stripe, and shorter than the wait of the page. */
export const linkTimeout = 40_000;

/** newServer returns a server with a timeout for each step of a request. */
export function newServer(handle: RequestListener): Server {
  const server = createServer({
    headersTimeout: 5_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 1_000, // the two above end a request at most this much later
    keepAliveTimeout: 120_000,
    maxHeaderSize: 16 << 10,
  }, handle);
  // Node keeps a connection open whose last response comes after close().
  server.on("request", (_, response) => response.once("close", () => server.listening || server.closeIdleConnections()));
  // A browser that reads nothing for so long is cut. The streams of /events have a shorter timeout of their own.
  server.timeout = linkTimeout + 10_000;
  return server;
}

/**
 * stopServer takes no further connections, and resolves when the requests that are under way have ended. A POST /link finishes:
 * otherwise its person would have a session at Stripe and no link. After the limit, in milliseconds, it cuts what is left.
 */
export async function stopServer(server: Server, limit = linkTimeout + 5_000): Promise<void> {
  const cut = setTimeout(() => server.closeAllConnections(), limit);
  await new Promise((resolve) => server.close(resolve));
  clearTimeout(cut);
}
