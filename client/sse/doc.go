// Package sse sends a watch of verification-status to a browser as Server-Sent Events:
//
//	const source = new EventSource("/verification/events");
//	source.addEventListener("status", (e) => show(JSON.parse(e.data)));
//	source.addEventListener("reset", () => clear());
//	source.addEventListener("live", () => current(true));
//	source.addEventListener("stale", () => current(false));
//
// The browser reconnects by itself and continues after the last event, also at another replica of the program. It never chooses
// what it sees: [Handler].Authorize does, by the signed-in user.
//
// The events are:
//
//   - "status": one revision of the session. The data is JSON with these fields of the contract's Verification and no others:
//     sessionId, status, type, lastError (code, reason, category), revision, retry (allowed, denial, nextRetryTime,
//     retriesRemaining, overrideOpen), settled, resolution (kind), updateTime. As always in protobuf's JSON, a field that is
//     false, 0 or empty is missing.
//   - "live": the service has answered within the last 5 s, so what was sent is current. The event follows each message of the
//     service, and comes every 5 s while the service answers; never otherwise. A page that has received nothing for 15 s has
//     lost its connection: it closes the EventSource and opens another one.
//   - "stale": the service cannot be reached, and what was sent can be out of date. The event is repeated every 5 s until "live".
//   - "reset": changes can be missing. Clear what is shown. A status follows.
//   - "unknown": there is no such session. Clear what is shown. "live" or "stale" follows, and the browser returns in a few
//     seconds.
//   - "busy": a newer stream has displaced this one, because the user, their address, or all users together had too many
//     streams. The browser returns in half a minute.
//   - "end": the user has signed out. The page closes the EventSource and asks the user to sign in.
//
// The package refuses to know how users sign in and what a page looks like.
package sse
