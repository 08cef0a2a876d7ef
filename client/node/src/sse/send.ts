import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";

/** How long a browser can take to read the rest of a response that has ended, in milliseconds. */
const restTimeout = 10_000;

/**
 * Sends a response of the Fetch standard through Node's `http` or `http2`, and so through Express and others that give access to Node's
 * response. It reads the body no faster than the browser does, and cancels it when the browser leaves. Headers that were set before
 * stay, except those that the response has too. Cookies that were set before always stay.
 *
 * ```ts
 * app.get("/events", (request, response) => send(events(request), response));
 * ```
 *
 * It resolves when the response has ended, also if the browser has left. If the body fails, it cuts the connection. If the body has another
 * reader, or the program has sent headers before, it cuts the connection with a warning of the process. It rejects only with the error
 * of the promise that it gets, and then sends nothing.
 */
export async function send(response: Response | Promise<Response>, to: ServerResponse | Http2ServerResponse): Promise<void> {
  const { status, headers, body } = await response;
  if (isGone(to)) return cancel(body);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    begin(to, status, headers);
    reader = body?.getReader();
  } catch (error) {
    process.emitWarning(`send: ${error instanceof Error ? error.message : String(error)}`);
    to.destroy();
    return cancel(body);
  }
  if (reader === undefined) to.end();
  else await pass(reader, to);
}

/** Sets the status and the headers of a response. It throws an error if headers were sent before. */
function begin(to: ServerResponse | Http2ServerResponse, status: number, headers: Headers): void {
  if (to.headersSent) throw new Error("the program has sent headers before");
  to.statusCode = status;
  const cookies = [to.getHeader("set-cookie") ?? [], headers.getSetCookie()].flat().map(String);
  for (const [name, value] of headers) to.setHeader(name, name === "set-cookie" ? cookies : value);
}

/** Sends what a reader reads, until the response has ended. It does not reject. */
async function pass(reader: ReadableStreamDefaultReader<Uint8Array>, to: ServerResponse | Http2ServerResponse): Promise<void> {
  const leave = (): void => void cancel(reader);
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

/** Cancels a body. It does not reject for one that has failed, or that has another reader. */
async function cancel(body: { cancel(): Promise<void> } | null): Promise<void> {
  await body?.cancel().catch(() => {});
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
