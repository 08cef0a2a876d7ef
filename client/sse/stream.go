package sse

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net/http"
	"regexp"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// maxToken and resumeToken are what the contract says of a token; anything else in Last-Event-ID is
// not from here.
const maxToken = 2048

var resumeToken = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

// news is one turn of a watch: an update, the error that ended it, or an interruption, after which it
// goes on by itself.
type news struct {
	client.Update
	err          error
	interruption error
}

// stream is one open stream, and what it knows of the watch behind it.
type stream struct {
	*Handler
	out   *writer
	heard time.Time // when the watch answered last, or began
	stale bool
}

var (
	errSilent = errors.New("the service has not answered in time")
	errOver   = errors.New("the stream is over")
)

// stream writes the watch's news, until one side ends it. The watch has a goroutine of its own, which is
// gone when stream returns.
func (h *Handler) stream(r *http.Request, viewer Viewer, seat *seat, out *writer) {
	ctx, cancel := context.WithCancel(r.Context())
	incoming := make(chan news)
	tell := func(next news) bool {
		select {
		case incoming <- next:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(incoming)
		interrupted := client.OnInterruption(func(err error, _ time.Duration) {
			if !errors.Is(err, client.ErrResumeTokenExpired) { // which is an answer: a reset follows
				tell(news{interruption: err})
			}
		})
		for update, err := range h.watch(ctx, viewer.Subject, r.Header.Get("Last-Event-ID"), interrupted) {
			if !tell(news{Update: update, err: err}) {
				return
			}
		}
	}()
	st := &stream{Handler: h, out: out, heard: time.Now()}
	defer func() {
		cancel()
		for range incoming { // until it is closed
		}
		if st.stale {
			h.outage.end(h.logger(), false)
		}
	}()
	session := viewer.Session
	if session == nil {
		session = context.Background()
	}
	beat := time.NewTicker(h.liveInterval())
	defer beat.Stop()
	age := cmp.Or(h.times.age, maxAge)
	aged := time.NewTimer(age - rand.N(age/5+1))
	defer aged.Stop()
	var err error
	for err == nil && r.Context().Err() == nil {
		if session.Err() != nil {
			_ = out.event(event{name: "end", data: `{"reason":"signed_out"}`, retry: retryLong})
			return
		}
		select {
		case <-r.Context().Done():
		case <-session.Done():
		case <-seat.displaced:
			_ = out.event(event{name: "busy", retry: spread(retryLong)})
			return
		case <-aged.C:
			_ = out.event(event{retry: spread(retryAged)})
			return
		case <-beat.C:
			err = st.beat()
		case next, open := <-incoming:
			switch {
			case !open:
				return
			case session.Err() != nil: // nothing more is shown to a user who has signed out
			case next.interruption != nil:
				err = st.lose(next.interruption)
			default:
				err = st.tell(r.Context(), next)
			}
		}
	}
}

// beat repeats that the stream is stale. It also finds out: a watch that waits for a connection is not
// interrupted, and has not answered either.
func (st *stream) beat() error {
	if st.stale || time.Since(st.heard) >= 2*st.liveInterval() {
		return st.lose(errSilent)
	}
	return nil
}

// lose tells the page that the watch has lost the service.
func (st *stream) lose(err error) error {
	if !st.stale {
		st.stale = true
		st.outage.begin(st.logger(), err)
	}
	return st.out.event(event{name: "stale"})
}

// tell writes one turn of the watch, and that the stream is live. An error ends the stream.
func (st *stream) tell(ctx context.Context, next news) error {
	live := event{name: "live"}
	switch {
	case next.err != nil && ctx.Err() != nil:
		return errOver
	case next.err != nil && !isOwn(next.err): // the browser is soon back, after retryBreak
		_ = st.lose(next.err)
		return errOver
	case errors.Is(next.err, client.ErrNotFound):
		_ = st.out.event(event{name: "unknown", retry: spread(retryUnknown)}, live)
		return errOver
	case next.err != nil:
		st.logger().ErrorContext(ctx, "sse: a watch ended; the browser will try again", "error", next.err)
		_ = st.out.event(event{name: "stale", retry: spread(retryLong)})
		return errOver
	}
	st.heard = time.Now()
	if st.stale {
		st.stale = false
		st.outage.end(st.logger(), true)
	}
	live.id = next.ResumeToken
	if next.Verification == nil {
		return st.out.event(live)
	}
	data, err := public(next.Verification)
	if err != nil {
		st.logger().ErrorContext(ctx, "sse: a verification cannot be encoded", "session_id", next.Verification.GetSessionId(), "error", err)
		return err
	}
	status := event{name: "status", id: next.ResumeToken, data: data}
	if next.Reset {
		return st.out.event(event{name: "reset"}, status, live)
	}
	return st.out.event(status, live)
}

// isOwn reports whether an error is the service's own. One of a proxy between says nothing about the session, or
// about this program's rights: it can come while the service is exchanged.
func isOwn(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Reason != verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// watch is Client.Watch from where the browser was. Where that cannot be, since the browser's token is
// none, another user's or another version's, it starts again and says so.
func (h *Handler) watch(ctx context.Context, subject client.Subject, lastEventID string, interrupted client.WatchOption) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		token := lastEventID
		reset := token != "" && (len(token) > maxToken || !resumeToken.MatchString(token))
		if reset {
			token = ""
		}
		for again := true; again; {
			again = false
			for update, err := range h.Client.Watch(ctx, subject, client.ResumeFrom(token), client.Bookmarks(), client.Heartbeat(h.liveInterval()), interrupted) {
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
