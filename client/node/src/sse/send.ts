import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";

/** How long a browser can take to read the rest of a response that has ended, in milliseconds. */
const restTimeout = 10_000;

/**
 * Sends a response of the Fetch standard through Node's `http` or `http2`, and so through Express and others that give access to Node's
 * response. It reads the body no faster than the browser does, and cancels it when the browser leaves. Headers that were set before
 * stay, except those that the response has too; cookies are added.
 *
 * ```ts
 * app.get("/events", (request, response) => send(events(request), response));
 * ```
 *
 * It resolves when the response has ended, also if the browser has left. If the body fails, or if something was sent before, it cuts the
 * connection, in the second case with a warning of the process. It rejects only with the error of the promise that it gets, and then
 * sends nothing.
 */
export async function send(response: Response | Promise<Response>, to: ServerResponse | Http2ServerResponse): Promise<void> {
  const { status, headers, body } = await response;
  if (isGone(to)) return body?.cancel();
  if (to.headersSent) {
    process.emitWarning("the response has begun before send: it is cut");
    to.destroy();
    return body?.cancel();
  }
  to.statusCode = status;
  const cookies = [to.getHeader("set-cookie") ?? [], headers.getSetCookie()].flat().map(String);
  for (const [name, value] of headers) to.setHeader(name, value);
  if (cookies.length > 0) to.setHeader("set-cookie", cookies);
  if (body === null) return void to.end();
  const reader = body.getReader();
  const leave = (): void => void reader.cancel().catch(() => {}); // a body that has failed
  let late: NodeJS.Timeout | undefined;
  to.once("close", leave);
  reader.closed.then(
    () => (late = setTimeout(() => to.destroy(), restTimeout)),
    () => to.destroy(),
  );
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      if (!write(to, chunk.value)) await drained(to);
    }
    to.end();
    if (!isGone(to)) await new Promise<void>((resolve) => to.once("close", resolve).once("finish", resolve));
  } catch {
    // The body has failed, and the connection is cut.
  } finally {
    clearTimeout(late);
    to.off("close", leave);
  }
}

/** Returns whether nothing can be written to a response any more. A response of HTTP/2 tells it by its stream. */
function isGone(to: ServerResponse | Http2ServerResponse): boolean {
  return to.destroyed || to.writableEnded || ("stream" in to && to.stream.destroyed);
}

/** Writes a chunk. It returns false if the next one must wait until the response is drained. */
function write(to: ServerResponse | Http2ServerResponse, chunk: Uint8Array): boolean {
  return isGone(to) || (to as ServerResponse).write(chunk);
}

/** Resolves when a response can take more, or is closed. */
async function drained(to: ServerResponse | Http2ServerResponse): Promise<void> {
  if (isGone(to)) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      to.off("drain", go).off("close", go);
      resolve();
    };
    to.on("drain", go).on("close", go);
  });
}
