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

// Handler is an http.Handler that sends the events of one watch for each request. Set its fields before the first request and do
// not change them. It is safe for concurrent use.
//
// A stream ends with the context of its request. http.Server.Shutdown waits for open streams and does not end them: give the
// server a BaseContext that RegisterOnShutdown cancels. Set its ConnContext to [ConnContext] too.
type Handler struct {
	// Client makes the watches. Required.
	Client *client.Client
	// Authorize returns the user of a request and what they may watch, for example by a session cookie; never by what the
	// browser asks for. It is called again at each reconnect. After [ErrNotSignedIn] and [ErrForbidden] the browser does not
	// return; after other errors it does. Required.
	Authorize func(*http.Request) (Viewer, error)
	// MaxStreams is how many streams one user can have open at this Handler. Default 8. A further stream displaces the
	// user's oldest one. Over HTTP/1.1 a browser opens at most 6 connections for all tabs together: serve HTTP/2.
	MaxStreams int
	// MaxStreamsPerAddress is how many streams one Viewer.Address can have open. Default 250, for an office or a mobile
	// network behind one address. A further stream displaces the oldest one of the user with the most streams at the address.
	MaxStreamsPerAddress int
	// MaxStreamsTotal is how many streams all users together can have open. Default 5,000, which is the share of a named
	// caller by the service's default settings. A further stream displaces the oldest one of the user with the most streams.
	// Streams with the zero Subject are short and count for no limit.
	MaxStreamsTotal int
	// Logger gets the faults of this program and of the service, and a line for each outage of the service. Default
	// slog.Default().
	Logger *slog.Logger

	slots  slots
	outage outage
	reach  reach
	times  times
}

// Viewer is a signed-in user and what they may watch.
type Viewer struct {
	// User identifies the user for the limits. Required. It is not logged.
	User string
	// Address is the address of the browser, for MaxStreamsPerAddress. If it is empty, for example because a proxy hides it,
	// that limit does not apply.
	Address string
	// Subject is what the user watches. The zero Subject is for a user that has no session yet: the stream has "unknown",
	// and "live" or "stale". All such users share one call to the service in 5 s, which reads nothing.
	Subject client.Subject
	// Session ends when the user's sign-in ends: the user signs out, or it expires. The stream ends with it. Nil: it lasts as
	// long as the request.
	Session context.Context
}

// Errors for Authorize to return.
var (
	// ErrNotSignedIn: nobody is signed in. The Handler answers 401.
	ErrNotSignedIn = errors.New("not signed in")
	// ErrForbidden: the user may watch nothing. The Handler answers 403.
	ErrForbidden = errors.New("forbidden")
)

// times are durations for tests. 0 means the constant in the comment.
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

	// liveInterval is the service's shortest heartbeat. A page must notice within 20 s that its data is stale, and does so
	// after three missed events.
	liveInterval = 5 * time.Second
	// writeTimeout bounds the time in which a browser reads nothing.
	writeTimeout = 10 * time.Second
	// maxAge is the maximum age of a stream, less a random part of up to a fifth. It ends the streams of phones that are gone
	// while a proxy in front keeps the connection open. A browser that is still there reconnects by itself.
	maxAge = 5 * time.Minute

	// The wait of a browser before it reconnects: after the maximum age, after an interruption, for an unknown session, and
	// if reconnecting soon does not help.
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

// ServeHTTP streams events until the browser leaves or the user's sign-in ends.
//
// It answers a temporary failure with 200 and closes the stream: an EventSource never reconnects after another status, such as
// 204 or 503, and the user would have to reload the page.
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
		h.logger().ErrorContext(r.Context(), "sse: Authorize returned no user: Viewer.User is required")
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
	if viewer.Subject == (client.Subject{}) { // it takes no slot, so that no limit keeps a person from beginning
		h.showNothing(r.Context(), out)
		return
	}
	slot := h.slots.take(viewer.User, viewer.Address, h.limits())
	defer h.slots.leave(slot)
	h.stream(r, viewer, slot, out)
}

// showNothing answers a user without a session. The page of such a user is current as long as the service answers.
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

// spread returns d to 2d at random, so that the browsers of a lost server do not reconnect at the same time.
func spread(d time.Duration) time.Duration { return d + rand.N(d) }
