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

// maxToken and resumeToken are the contract's rules for a token. Any other Last-Event-ID is not from this handler.
const maxToken = 2048

var resumeToken = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

// step is one step of a watch: an update, the error that ended it, or an interruption, after which it resumes.
type step struct {
	client.Update
	err          error
	interruption error
}

// stream is one open stream and the state of its watch.
type stream struct {
	*Handler
	out   *writer
	heard time.Time // the time of the last update, or of the beginning
	stale bool
}

var (
	errSilent = errors.New("the service has not answered in time")
	errOver   = errors.New("the stream is over")
)

// stream writes the steps of the watch until the browser, the watch or the user's sign-in ends. The watch has a goroutine of its
// own, which has ended when stream returns.
func (h *Handler) stream(r *http.Request, viewer Viewer, slot *slot, out *writer) {
	ctx, cancel := context.WithCancel(r.Context())
	incoming := make(chan step)
	send := func(next step) bool {
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
			if !errors.Is(err, client.ErrResumeTokenExpired) { // it is an answer: a reset follows
				send(step{interruption: err})
			}
		})
		for update, err := range h.watch(ctx, viewer.Subject, r.Header.Get("Last-Event-ID"), interrupted) {
			if !send(step{Update: update, err: err}) {
				return
			}
		}
	}()
	st := &stream{Handler: h, out: out, heard: time.Now()}
	defer func() {
		cancel()
		for range incoming { // until the goroutine closes it
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
		case <-slot.displaced:
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
			case session.Err() != nil: // a user who has signed out gets nothing more
			case next.interruption != nil:
				err = st.lose(next.interruption)
			default:
				err = st.write(r.Context(), next)
			}
		}
	}
}

// beat sends "stale" again. It also sends the first one if the watch has not answered in time: a watch that waits for a connection
// is not interrupted.
func (st *stream) beat() error {
	if st.stale || time.Since(st.heard) >= 2*st.liveInterval() {
		return st.lose(errSilent)
	}
	return nil
}

// lose tells the page that the data is stale, because of err.
func (st *stream) lose(err error) error {
	if !st.stale {
		st.stale = true
		st.outage.begin(st.logger(), err)
	}
	return st.out.event(event{name: "stale"})
}

// write sends one step of the watch, and "live". An error ends the stream.
func (st *stream) write(ctx context.Context, next step) error {
	live := event{name: "live"}
	switch {
	case next.err != nil && ctx.Err() != nil:
		return errOver
	case next.err != nil && !isOwn(next.err): // the browser reconnects after retryBreak
		_ = st.lose(next.err)
		return errOver
	case errors.Is(next.err, client.ErrNotFound):
		_ = st.out.event(event{name: "unknown", retry: spread(retryUnknown)}, live)
		return errOver
	case next.err != nil:
		st.logger().ErrorContext(ctx, "sse: a watch has ended; the browser will reconnect", "error", next.err)
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

// isOwn reports whether an error is the service's own. An error of a proxy says nothing about the session or about this program's
// rights: it can come during a deployment of the service.
func isOwn(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Reason != verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// watch is Client.Watch from the browser's position. If the browser's token is invalid, or of another user or version, the watch
// begins with the current status and a reset.
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
