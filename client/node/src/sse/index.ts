/**
 * Sends a watch to a browser as server-sent events:
 *
 * ```js
 * const source = new EventSource("/verification/events");
 * source.addEventListener("status", (event) => show(JSON.parse(event.data)));
 * source.addEventListener("reset", () => clear());
 * source.addEventListener("live", () => current(true));
 * source.addEventListener("stale", () => current(false));
 * ```
 *
 * The browser reconnects by itself and continues after the last event, also at another replica of the program. It never chooses what it
 * sees: `authorize` does, by the signed-in user. Begin with {@link eventStreams}.
 *
 * The events are those of the Go package client/sse:
 *
 * - "status": one revision of the session. The data is JSON with these fields of the contract's Verification and no others: sessionId,
 *   status, type, lastError (code, reason, category), revision, retry (allowed, denial, nextRetryTime, retriesRemaining, overrideOpen),
 *   settled, resolution (kind), updateTime. As always in protobuf's JSON, a field that is false, 0 or empty is missing, and enums are
 *   the contract's names, such as "STATUS_VERIFIED".
 * - "live": the service has answered within the last 5 s, so what was sent is current. The event follows each message of the service,
 *   and comes every 5 s while the service answers; never otherwise. A page that has received nothing for 15 s has lost its connection:
 *   it closes the EventSource and opens another one.
 * - "stale": the service cannot be reached, and what was sent can be out of date. The event is repeated every 5 s, and after each try to
 *   reach the service that fails, until "live".
 * - "reset": changes can be missing. Clear what is shown. A status follows.
 * - "unknown": there is no such session. Clear what is shown. "live" or "stale" follows, and the browser returns in a few seconds.
 * - "busy": a newer stream has displaced this one, because the user, their address, or all users together had too many streams. The
 *   browser returns in half a minute.
 * - "end": the user has signed out. The page closes the EventSource and asks the user to sign in.
 *
 * A stream ends after 4 to 5 minutes, and the browser reconnects at once.
 *
 * @module
 */
import { Bridge } from "./bridge.js";
import type { EventStreamsOptions, RequestLike } from "./options.js";

export type { Logger } from "./logger.js";
export type { Authorized, EventStreamsOptions, RequestLike, Viewer } from "./options.js";
export { send } from "./send.js";

/**
 * Returns a function that answers a request with a stream of events, as a `Response` of the Fetch standard. Make one for a program: the
 * limits of streams hold for all that it answers. It throws a RangeError for a limit below 1.
 *
 * The function answers a request that is no GET with 405, and never rejects. A stream ends when the browser leaves (the framework
 * cancels the body, or aborts the request's signal), when the user's sign-in ends, or with `signal`. A browser that reads nothing for
 * 10 s loses its stream: the body fails.
 *
 * Next, Hono, Fastify and others send a `Response`. A route of Next:
 *
 * ```ts
 * import { connect } from "@verification-status/client";
 * import { eventStreams } from "@verification-status/client/sse";
 *
 * const client = connect("verification-status:443");
 * export const GET = eventStreams({
 *   client,
 *   authorize: async (request: Request) => {
 *     const user = await userOf(request.headers.get("cookie"));
 *     return user ? { user, subject: { reference: user } } : "not_signed_in";
 *   },
 * });
 * ```
 *
 * In Hono the route is `(c) => events(c.req.raw)`, and in Fastify `(request) => events(request)`. With Node's `http` and with Express,
 * {@link send} sends it:
 *
 * ```ts
 * import { createServer } from "node:http";
 * import type { IncomingMessage } from "node:http";
 * import { connect } from "@verification-status/client";
 * import { eventStreams, send } from "@verification-status/client/sse";
 *
 * const client = connect("verification-status:443");
 * const stopping = new AbortController();
 * const events = eventStreams({
 *   client,
 *   signal: stopping.signal,
 *   authorize: async (request: IncomingMessage) => {
 *     const user = await userOf(request.headers.cookie);
 *     return user ? { user, address: request.socket.remoteAddress, subject: { reference: user } } : "not_signed_in";
 *   },
 * });
 * const server = createServer((request, response) => send(events(request), response)).listen(8080);
 * process.once("SIGTERM", () => {
 *   stopping.abort();
 *   server.close(() => client.close());
 * });
 * ```
 */
export function eventStreams<R extends RequestLike>(options: EventStreamsOptions<R>): (request: R) => Promise<Response> {
  const bridge = new Bridge(options);
  return (request) => bridge.handle(request);
}
