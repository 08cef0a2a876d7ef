package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Watch is a loop over a subject's changes: first its current status, then every later revision, in
// order, none twice and none left out.
//
//	for update, err := range c.Watch(ctx, client.Reference("user-42")) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(update.Verification.GetStatus())
//	}
//
// It goes on by itself when a connection breaks, a server stops or falls silent, from the last update
// that was handled: handled is an update when the loop's body asks for the next. It ends
//
//   - when the body leaves the loop;
//   - with ctx's error, when ctx ends, and with [ErrClosed], when the Client is closed;
//   - with an error that another try cannot fix, which is the last thing it yields: [ErrNotFound],
//     [ErrInvalidRequest], [ErrResumeTokenInvalid], [ErrUnauthenticated], [ErrPermissionDenied], and
//     the codes FAILED_PRECONDITION, ALREADY_EXISTS and UNIMPLEMENTED.
//
// Only the service itself, or the very first answer, ends a watch with such an error. A proxy that has no
// route, refuses or is broken for a moment (404, 403, 401, 502, 503) interrupts it.
//
// Where the server no longer holds what follows (OUT_OF_RANGE), it starts again with the current
// status and says so: see [Update]. A watch by reference can end with ErrNotFound: the session was redacted
// meanwhile, which erases the reference with the person's data, or it got another reference, and no other
// session has this one.
//
// Nothing is left running when the loop is over. Ranging over the result again starts anew.
func (c *Client) Watch(ctx context.Context, subject Subject, options ...WatchOption) iter.Seq2[Update, error] {
	return c.watch(ctx, subject.check, subject.watchRequest, options)
}

// WatchAll is a loop over the changes of all sessions, for programs that react to outcomes. In order
// within a session, each change at least once: one that comes again has a revision already seen. It
// starts with what comes next, so a program that must see every change stores the tokens, the first
// of them before any change (see [Bookmarks]), and resumes.
//
// It ends as Watch does, and with [ErrResumeTokenExpired] when changes were lost to the caller: ask
// for the sessions that matter, and start again without a token.
func (c *Client) WatchAll(ctx context.Context, options ...WatchOption) iter.Seq2[Update, error] {
	anyone := func() error { return nil }
	return c.watch(ctx, anyone, func() *verificationv1.WatchStatusRequest {
		return &verificationv1.WatchStatusRequest{
			Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}},
		}
	}, options)
}

// WaitSettled waits until a subject is settled (verified, canceled or redacted; by reference, not by
// a session that another one replaced) and returns it. Like Watch it outlives what breaks. Where it
// ends early, by ctx or an error that Watch would end with, it returns the last status known too, or
// nil.
func (c *Client) WaitSettled(ctx context.Context, subject Subject) (*verificationv1.Verification, error) {
	var last *verificationv1.Verification
	for update, err := range c.Watch(ctx, subject, UntilSettled()) {
		if err != nil {
			return last, err
		}
		last = update.Verification
	}
	return last, nil
}

func (c *Client) watch(ctx context.Context, check func() error, request func() *verificationv1.WatchStatusRequest, options []WatchOption) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		w := &watch{client: c, request: request(), onInterruption: func(error, time.Duration) {}}
		Heartbeat(defaultHeartbeat)(w)
		for _, option := range options {
			option(w)
		}
		if err := errors.Join(check(), checkText("the resume token", w.token)); err != nil {
			yield(Update{}, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(c.open, func() { cancel(ErrClosed) })()
		w.run(ctx, yield)
	}
}

// watch is one run of the loop, over as many streams as it takes.
type watch struct {
	client         *Client
	request        *verificationv1.WatchStatusRequest
	patience       time.Duration // the longest silence of a stream
	bookmarks      bool
	onInterruption func(error, time.Duration)

	token    string // of the last response handled
	last     place  // handled last
	reset    bool   // the next verification starts anew
	begun    bool   // a response came, or a first stream failed
	failures int    // in a row
}

// place is what must be known of a verification after the loop's body had it, which may change it.
type place struct {
	session  string
	revision int32
	settled  bool
}

var (
	// errLeft: the loop's body has left it. errSettled: the server ended the stream as it was asked to.
	errLeft    = errors.New("the loop was left")
	errSettled = errors.New("the subject is settled")
	errSilent  = errors.New("client: the stream fell silent")
	errEnded   = errors.New("client: the stream ended without an error")
	// errUnanswered: the stream was silent from its beginning.
	errUnanswered = errors.New("client: the stream was never answered: the server hangs, or a proxy on the way " +
		"has its limit of streams for a connection and does not announce it")
)

// run follows one stream after the other, until one ends for good.
func (w *watch) run(ctx context.Context, yield func(Update, error) bool) {
	for {
		err := w.stream(ctx, yield)
		switch {
		case errors.Is(err, errLeft) || errors.Is(err, errSettled):
			return
		case ctx.Err() != nil:
			yield(Update{}, endOf(ctx))
			return
		case w.isFinal(err):
			yield(Update{}, err)
			return
		}
		w.begun = true
		w.failures++
		asked, random := retryAfter(err), w.client.backoff.random(w.failures)
		w.onInterruption(err, asked+random)
		if !w.client.pause(ctx, asked, random) {
			yield(Update{}, endOf(ctx))
			return
		}
	}
}

// endOf says why the whole watch ends: it is the caller's context, or Close.
func endOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("client: watch: %w", ctx.Err())
}

// stream follows one stream, and says why it ended; never nil.
func (w *watch) stream(ctx context.Context, yield func(Update, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// It runs only while a response is awaited: a body that takes its time is no silence.
	silence := time.AfterFunc(w.patience, func() { cancel(errSilent) })
	defer silence.Stop()
	w.request.ResumeToken = w.token
	stream, err := w.client.rpc.WatchStatus(ctx, w.request)
	if err != nil {
		return streamError(ctx, err, errUnanswered)
	}
	silent := errUnanswered
	for {
		response, err := stream.Recv()
		silence.Stop()
		switch {
		case errors.Is(err, io.EOF):
			return w.ended()
		case err != nil:
			return streamError(ctx, err, silent)
		case !w.deliver(response, yield):
			return errLeft
		}
		silent = errSilent
		silence.Reset(w.patience)
	}
}

// streamError is err, or silent if the stream was given up for its silence.
func streamError(ctx context.Context, err, silent error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return silent
	}
	return newError(err)
}

// ended is what OK means. Only with until_settled the server ends a stream so; from a proxy, or of a
// session that is not settled, it is one more break.
func (w *watch) ended() error {
	if w.request.GetUntilSettled() && (w.last == place{} || w.last.settled) {
		return errSettled
	}
	return errEnded
}

// deliver hands one response to the body, and moves the token once that is done with it. False: the
// body has left the loop.
func (w *watch) deliver(response *verificationv1.WatchStatusResponse, yield func(Update, error) bool) bool {
	w.failures, w.begun = 0, true
	update := Update{Verification: response.GetVerification(), ResumeToken: response.GetResumeToken()}
	switch {
	case update.Verification == nil && !w.bookmarks, w.repeated(update.Verification):
		w.token = update.ResumeToken
		return true
	case update.Verification != nil:
		update.Reset = w.reset
	}
	handled := place{update.Verification.GetSessionId(), update.Verification.GetRevision(), update.Verification.GetSettled()}
	if !yield(update, nil) {
		return false
	}
	w.token = update.ResumeToken
	if handled.session != "" {
		w.last, w.reset = handled, false
	}
	return true
}

// repeated reports whether a verification was handled before. A watch of all sessions does not
// remember all of them.
func (w *watch) repeated(v *verificationv1.Verification) bool {
	return v != nil && w.request.GetAllSessions() == nil && v.GetSessionId() == w.last.session && v.GetRevision() <= w.last.revision
}

// isFinal reports whether another try cannot do better. If it can, isFinal prepares it.
func (w *watch) isFinal(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return false // errSilent, errUnanswered, errEnded
	}
	switch failed.Code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Unimplemented:
		// A proxy's 404 is UNIMPLEMENTED here, its 403 PERMISSION_DENIED, its 401 UNAUTHENTICATED. The first
		// answer is believed: it can be a wrong address, and the caller must learn of it.
		return failed.own || !w.begun
	case codes.OutOfRange: // made of no HTTP status
		if w.request.GetAllSessions() != nil {
			return true
		}
		w.token, w.last, w.reset = "", place{}, true
	}
	return false
}

// retryAfter returns the wait that the server asks for, maxRetryAfter at the most, or 0.
func retryAfter(err error) time.Duration {
	var failed *Error
	if errors.As(err, &failed) {
		return min(failed.RetryAfter, maxRetryAfter)
	}
	return 0
}
