// Package sse brings a watch of verification-status to a browser, as Server-Sent Events:
//
//	const source = new EventSource("/verification/events");
//	source.addEventListener("status", (e) => show(JSON.parse(e.data)));
//	source.addEventListener("reset", () => forget());
//	source.addEventListener("live", () => current(true));
//	source.addEventListener("stale", () => current(false));
//
// The browser reconnects by itself and goes on where it was, also at another replica of the program
// that serves it. It never says what to watch: [Handler.Authorize] does, by who is signed in.
//
// The events:
//
//   - "status": one revision of the session; data is JSON, with the contract's names of these fields of
//     Verification and no others: sessionId, status, type, lastError (code, reason, category), revision,
//     retry (allowed, denial, nextRetryTime, retriesRemaining), settled, updateTime. As always with
//     protobuf's JSON, what is false, 0 or empty is left out.
//   - "live": the service has answered within 5 s, so what was sent is current. It follows whatever comes
//     from the service, and comes every 5 s while the service answers; never otherwise. A page that has heard
//     nothing for 15 s has lost its connection: it closes the EventSource and opens another one.
//   - "stale": the service cannot be reached; what was sent can be out of date. It is repeated every 5 s
//     until "live" follows.
//   - "reset": changes may have been missed; forget what was shown. A status follows.
//   - "unknown": there is no such session, yet or any more; forget what was shown. "live" or "stale"
//     follows, and the browser comes back in a few seconds.
//   - "busy": a newer stream has taken the place of this one: the user, their address, or all users
//     together, had too many. The browser comes back in half a minute.
//   - "end": the user's session has ended; the page asks them to sign in, and closes the EventSource.
//
// The package refuses to know how users sign in, and what a page looks like.
package sse

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"example.com/verification-status/client"
)

// Handler serves the events of one watch to each request. Its fields are set before the first request
// and not changed; it is safe for concurrent use.
//
// It ends with the request's context. http.Server.Shutdown waits for open streams and does not end
// them: give the server a BaseContext that RegisterOnShutdown cancels. Give it [ConnContext] too.
type Handler struct {
	// Client watches. Required.
	Client *client.Client
	// Authorize says who a request is from and what they may watch, by the cookie that signed them in,
	// say; never by what the browser asks for. It is asked again at each reconnect. [ErrNotSignedIn] and
	// [ErrForbidden] stop the browser for good; after other errors it comes back. Required.
	Authorize func(*http.Request) (Viewer, error)
	// MaxStreams is how many streams one user may have open at this Handler: by default 8. One more takes
	// the place of the oldest. A browser opens 6 connections at the most over HTTP/1.1, for all tabs
	// together: serve HTTP/2.
	MaxStreams int
	// MaxStreamsPerAddress bounds the streams of one Viewer.Address: by default 250, for an office or a
	// mobile network behind one address. One more takes the place of the oldest stream of the user with
	// the most streams at the address.
	MaxStreamsPerAddress int
	// MaxStreamsTotal bounds the streams of all users: by default 5,000, a named caller's share of the
	// service's own default. One more takes the place of the oldest stream of the user with the most
	// streams. Streams with the zero Subject are short, and no limit counts them.
	MaxStreamsTotal int
	// Logger is told of what is this program's or the service's fault, and once of each time that the
	// service cannot be reached: by default slog.Default().
	Logger *slog.Logger

	seats  seats
	outage outage
	reach  reach
	times  times
}

// Viewer is a signed-in user, and what they may watch.
type Viewer struct {
	// User tells users apart, for MaxStreams. Required; it is not logged.
	User string
	// Address is where the request comes from, for MaxStreamsPerAddress. Empty: that bound is not applied,
	// as where a proxy in front hides the addresses.
	Address string
	// Subject is what they watch. The zero Subject is for a user who has begun nothing: they are told
	// "unknown" and whether the service answers. They share one call in 5 s, which reads nothing.
	Subject client.Subject
	// Session ends when the user's session does: they signed out, or it expired. The stream ends with
	// it. Nil: it lasts as long as the request.
	Session context.Context
}

// What Authorize answers to those who may not watch.
var (
	// ErrNotSignedIn is answered with 401.
	ErrNotSignedIn = errors.New("not signed in")
	// ErrForbidden is answered with 403: signed in, but nothing to watch.
	ErrForbidden = errors.New("forbidden")
)

// times are how long things take; 0 stands for the constant of the same name.
type times struct {
	live  time.Duration // liveInterval
	write time.Duration // writeTimeout
	age   time.Duration // maxAge
	reach time.Duration // reachTimeout
}

const (
	defaultMaxStreams           = 8
	defaultMaxStreamsPerAddress = 250
	defaultMaxStreamsTotal      = 5000

	// liveInterval is the service's shortest heartbeat. A page must notice within 20 s that it lost touch,
	// and takes three missed events for that.
	liveInterval = 5 * time.Second
	// writeTimeout is the longest that a browser may take nothing.
	writeTimeout = 10 * time.Second
	// maxAge is the greatest age of a stream, less up to a fifth. It ends the streams of phones that are
	// gone where a proxy in front keeps the connection; a browser that is there reconnects by itself.
	maxAge = 5 * time.Minute

	// How long a browser waits before it comes back: after the greatest age, after a break, where nothing is
	// known yet, and where coming back soon does not help.
	retryAged    = 500 * time.Millisecond
	retryBreak   = 2 * time.Second
	retryUnknown = 5 * time.Second
	retryLong    = 30 * time.Second
)

func (h *Handler) liveInterval() time.Duration { return cmp.Or(h.times.live, liveInterval) }

func (h *Handler) limits() limits {
	return limits{
		user:    cmp.Or(h.MaxStreams, defaultMaxStreams),
		address: cmp.Or(h.MaxStreamsPerAddress, defaultMaxStreamsPerAddress),
		all:     cmp.Or(h.MaxStreamsTotal, defaultMaxStreamsTotal),
	}
}

// ServeHTTP streams events until the browser goes, or the user's session ends.
//
// Whatever may be over in a while is answered with 200 and a close: an EventSource that gets anything
// else, 204 and 503 among it, gives up for ever, and the page would have to be loaded again.
func (h *Handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		rw.Header().Set("Allow", http.MethodGet)
		http.Error(rw, "only GET streams events", http.StatusMethodNotAllowed)
		return
	}
	viewer, err := h.Authorize(r)
	switch {
	case errors.Is(err, ErrNotSignedIn):
		http.Error(rw, "not signed in", http.StatusUnauthorized)
		return
	case errors.Is(err, ErrForbidden):
		http.Error(rw, "forbidden", http.StatusForbidden)
		return
	case err == nil && viewer.User == "":
		h.logger().ErrorContext(r.Context(), "sse: Authorize named no user: Viewer.User is required")
		http.Error(rw, "internal error", http.StatusInternalServerError)
		return
	}
	out := &writer{ResponseWriter: rw, timeout: cmp.Or(h.times.write, writeTimeout)}
	if failed := out.begin(spread(retryBreak)); failed != nil {
		if errors.Is(failed, http.ErrNotSupported) {
			h.logger().ErrorContext(r.Context(), "sse: the ResponseWriter can neither flush nor set deadlines; middleware that wraps it needs a method Unwrap", "error", failed)
			http.Error(rw, "internal error", http.StatusInternalServerError)
		}
		return
	}
	defer out.finish()
	if err != nil {
		h.logger().ErrorContext(r.Context(), "sse: Authorize failed", "error", err)
		return
	}
	if viewer.Subject == (client.Subject{}) { // a short answer, without a seat: no limit keeps a person from beginning
		h.showNothing(r.Context(), out)
		return
	}
	seat := h.seats.take(viewer.User, viewer.Address, h.limits())
	defer h.seats.leave(seat)
	h.stream(r, viewer, seat, out)
}

// showNothing answers a user who has begun nothing. The page of such a user is current as long as the
// service answers.
func (h *Handler) showNothing(ctx context.Context, out *writer) {
	if out.event(event{name: "unknown", retry: spread(retryUnknown)}) != nil {
		return
	}
	name := "live"
	if h.reachable(ctx) != nil {
		name = "stale"
	}
	_ = out.event(event{name: name})
}

func (h *Handler) logger() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}

// spread is up to twice a time, so that the browsers of a server that went away do not come back in
// step.
func spread(d time.Duration) time.Duration { return d + rand.N(d) }
