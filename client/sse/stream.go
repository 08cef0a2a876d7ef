package sse

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"regexp"
	"time"

	"example.com/verification-status/client"
)

// maxToken and resumeToken are what the contract says of a token; anything else in Last-Event-ID is
// not from here.
const maxToken = 2048

var resumeToken = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

// news is one turn of a watch.
type news struct {
	client.Update
	err error
}

// stream writes the watch's news and signs of life, until one side ends it. The watch has a goroutine
// of its own, which is gone when stream returns.
func (h *Handler) stream(r *http.Request, viewer Viewer, out *writer) {
	ctx, cancel := context.WithCancel(r.Context())
	incoming := make(chan news)
	go func() {
		defer close(incoming)
		for update, err := range h.watch(ctx, viewer.Subject, r.Header.Get("Last-Event-ID")) {
			select {
			case incoming <- news{update, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range incoming { // until it is closed
		}
	}()
	session := viewer.Session
	if session == nil {
		session = context.Background()
	}
	comments := time.NewTicker(cmp.Or(h.times.comment, commentInterval))
	defer comments.Stop()
	for r.Context().Err() == nil {
		if session.Err() != nil {
			_ = out.event(event{name: "end", data: `{"reason":"signed_out"}`, retry: retryLong})
			return
		}
		var err error
		select {
		case <-r.Context().Done():
		case <-session.Done():
		case <-comments.C:
			err = out.comment()
		case next, open := <-incoming:
			if !open {
				return
			}
			if session.Err() == nil { // nothing more is shown to whoever has signed out
				err = h.tell(r.Context(), out, next)
			}
		}
		if err != nil {
			return // the browser is gone, or the watch is over
		}
	}
}

// tell writes one turn of the watch. An error ends the stream.
func (h *Handler) tell(ctx context.Context, out *writer, next news) error {
	switch {
	case errors.Is(next.err, client.ErrNotFound):
		_ = out.event(event{name: "unknown", retry: spread(retryUnknown)})
		return next.err
	case next.err != nil:
		if ctx.Err() == nil {
			h.logger().ErrorContext(ctx, "sse: a watch ended; the browser will try again", "error", next.err)
			_ = out.event(event{retry: spread(retryLong)})
		}
		return next.err
	case next.Verification == nil:
		// Moves the browser's Last-Event-ID, and the page notices nothing.
		return out.event(event{id: next.ResumeToken})
	}
	data, err := public(next.Verification)
	if err != nil {
		h.logger().ErrorContext(ctx, "sse: a verification cannot be encoded", "session_id", next.Verification.GetSessionId(), "error", err)
		return err
	}
	status := event{name: "status", id: next.ResumeToken, data: data}
	if next.Reset {
		return out.event(event{name: "reset"}, status)
	}
	return out.event(status)
}

// watch is Client.Watch from where the browser was. Where that cannot be, since the browser's token is
// none, another user's or another version's, it starts again and says so.
func (h *Handler) watch(ctx context.Context, subject client.Subject, lastEventID string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		token := lastEventID
		reset := token != "" && (len(token) > maxToken || !resumeToken.MatchString(token))
		if reset {
			token = ""
		}
		for again := true; again; {
			again = false
			for update, err := range h.Client.Watch(ctx, subject, client.ResumeFrom(token), client.Bookmarks()) {
				if token != "" && errors.Is(err, client.ErrResumeTokenInvalid) {
					token, reset, again = "", true, true
					break
				}
				if reset && update.Verification != nil {
					update.Reset, reset = true, false
				}
				if !yield(update, err) {
					return
				}
				token = update.ResumeToken
			}
		}
	}
}
