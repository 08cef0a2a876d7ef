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

// Watch returns a loop over the changes of a subject: first its current status, then every later revision, in order, without
// a gap and without a repetition.
//
//	for update, err := range c.Watch(ctx, client.Reference("user-42")) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(update.Verification.GetStatus())
//	}
//
// If a connection breaks, or a server stops or falls silent, the watch resumes by itself after the last handled update. An
// update counts as handled when the loop body returns for the next one. The loop ends
//
//   - when its body leaves it,
//   - with the error of ctx when ctx ends, and with [ErrClosed] when the Client is closed,
//   - with an error that another try cannot fix: [ErrNotFound], [ErrInvalidRequest], [ErrResumeTokenInvalid],
//     [ErrUnauthenticated], [ErrPermissionDenied], and the codes FAILED_PRECONDITION, ALREADY_EXISTS and UNIMPLEMENTED.
//
// The error is the last thing that the loop yields. Only the service itself, or the very first answer, ends a watch with an
// error of the last kind. A proxy that has no route, refuses, or is broken for a while (404, 403, 401, 502, 503) interrupts
// the watch, and it resumes.
//
// If the service no longer has the changes that follow (OUT_OF_RANGE), the watch restarts with the current status and sets
// [Update].Reset. A watch by reference can end with ErrNotFound when no session has the reference any more: its session was
// redacted, which erases the reference, or got another reference.
//
// No goroutine is left when the loop has ended. Ranging over the result again starts a new watch.
func (c *Client) Watch(ctx context.Context, subject Subject, options ...WatchOption) iter.Seq2[Update, error] {
	return c.watch(ctx, subject.check, subject.watchRequest, options)
}

// WatchAll returns a loop over the changes of all sessions, for programs that react to outcomes. Changes of one session are in
// order. Each change comes at least once; a repeated one has a revision that was already seen. The loop begins with the next
// change. A program that must see every change stores the resume tokens, the first of them before any change (see
// [Bookmarks]), and resumes from the last one.
//
// It ends as Watch does. It also ends with [ErrResumeTokenExpired] if changes were lost to the caller: start again without a
// token, and then ask for the sessions that matter with Status or List, so that nothing falls in between.
func (c *Client) WatchAll(ctx context.Context, options ...WatchOption) iter.Seq2[Update, error] {
	anySubject := func() error { return nil }
	return c.watch(ctx, anySubject, func() *verificationv1.WatchStatusRequest {
		return &verificationv1.WatchStatusRequest{
			Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}},
		}
	}, options)
}

// WaitSettled waits until a subject is settled (verified, canceled or redacted) and returns it. By reference, a session that
// was replaced by another one does not end the wait. WaitSettled resumes as Watch does. If ctx ends, or an error that ends a
// Watch occurs, it returns that error and the last known status, which can be nil.
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
		w := newWatch(c, request())
		for _, option := range options {
			option.changeWatch(w)
		}
		if err := errors.Join(check(), checkText("the resume token", w.token), w.problem); err != nil {
			yield(Update{}, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(c.open, func() { cancel(ErrClosed) })()
		w.run(ctx, yield)
	}
}

// watch is one run of the loop, over one stream after the other.
type watch struct {
	client         *Client
	request        *verificationv1.WatchStatusRequest
	silenceTimeout time.Duration // of a stream
	bookmarks      bool
	onInterruption func(error, time.Duration)
	problem        error        // of the options
	consumer       *consumption // of Consume; nil in a watch

	token    string   // of the last handled response
	last     position // of the last handled verification
	reset    bool     // the next verification has Update.Reset
	begun    bool     // a response has arrived, or the first stream has failed
	failures int      // in a row
}

func newWatch(c *Client, request *verificationv1.WatchStatusRequest) *watch {
	w := &watch{client: c, request: request, onInterruption: func(error, time.Duration) {}}
	Heartbeat(defaultHeartbeat).changeWatch(w)
	return w
}

// position is what the watch keeps of a handled verification. It is a copy, because the loop body can change the verification.
type position struct {
	session  string
	revision int32
	settled  bool
}

var (
	// errLeft: the body has left the loop. errSettled: the server ended the stream because of until_settled.
	errLeft    = errors.New("the loop was left")
	errSettled = errors.New("the subject is settled")
	errSilent  = errors.New("client: the stream fell silent")
	errEnded   = errors.New("client: the stream ended without an error")
	// errUnanswered: no response has ever arrived.
	errUnanswered = errors.New("client: the stream got no response: the server hangs, or a proxy in between " +
		"limits the streams of a connection without announcing it")
)

// run follows one stream after the other, until the watch ends.
func (w *watch) run(ctx context.Context, yield func(Update, error) bool) {
	for {
		err := w.stream(ctx, yield)
		switch {
		case errors.Is(err, errLeft) || errors.Is(err, errSettled):
			return
		case ctx.Err() != nil:
			yield(Update{}, endOf(ctx))
			return
		case w.isFinal(ctx, err):
			yield(Update{}, err)
			return
		}
		w.begun = true
		w.failures++
		asked, random := retryAfter(err), w.client.backoff.random(w.failures)
		if w.consumer != nil {
			random = w.consumer.interrupted(err, asked, random)
		}
		w.onInterruption(err, asked+random)
		if !w.client.pause(ctx, asked, random) {
			yield(Update{}, endOf(ctx))
			return
		}
	}
}

// endOf returns the error of a watch whose context has ended: ErrClosed, or the error of the caller's context.
func endOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("client: watch: %w", ctx.Err())
}

// stream follows one stream and returns why it ended, never nil.
func (w *watch) stream(ctx context.Context, yield func(Update, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if w.consumer != nil {
		if err := w.consumer.begin(ctx, cancel); err != nil {
			return err
		}
	}
	// The timer runs only while a response is awaited: the time of the loop body and of handlers does not count.
	silence := time.AfterFunc(w.silenceTimeout, func() { cancel(errSilent) })
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
		}
		if w.consumer != nil {
			if err := w.consumer.accept(ctx, response, errors.Is(silent, errUnanswered)); err != nil {
				return err
			}
		}
		if !w.deliver(response, yield) {
			return errLeft
		}
		silent = errSilent
		silence.Reset(w.silenceTimeout)
	}
}

// streamError returns silent if the stream was canceled for its silence, the cause if Consume begins it again, else err.
func streamError(ctx context.Context, err, silent error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return silent
	case errors.Is(cause, errBegunAgain), errors.Is(cause, errRoom):
		return cause
	}
	return newError(err)
}

// ended returns the meaning of OK. The server ends a stream with OK only for until_settled. If the session is not settled, or
// a proxy answers OK, the stream is interrupted.
func (w *watch) ended() error {
	if w.request.GetUntilSettled() && (w.last == position{} || w.last.settled) {
		return errSettled
	}
	return errEnded
}

// deliver passes one response to the loop body, and takes over its token when the body has handled it. It returns false if the
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
	handled := position{update.Verification.GetSessionId(), update.Verification.GetRevision(), update.Verification.GetSettled()}
	if !yield(update, nil) {
		return false
	}
	w.token = update.ResumeToken
	if handled.session != "" {
		w.last, w.reset = handled, false
	}
	return true
}

// repeated reports whether a verification was handled before. A watch of all sessions does not keep all positions, so it
// returns false there.
func (w *watch) repeated(v *verificationv1.Verification) bool {
	return v != nil && w.request.GetAllSessions() == nil && v.GetSessionId() == w.last.session && v.GetRevision() <= w.last.revision
}

// isFinal reports whether another try cannot succeed. Otherwise it prepares the next try.
func (w *watch) isFinal(ctx context.Context, err error) bool {
	if w.consumer != nil {
		if final, decided := w.consumer.isFinal(ctx, err); decided {
			return final
		}
	}
	var failed *Error
	if !errors.As(err, &failed) {
		return false // errSilent, errUnanswered, errEnded
	}
	switch failed.Code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Unimplemented:
		// A proxy's 404 is UNIMPLEMENTED here, its 403 PERMISSION_DENIED, its 401 UNAUTHENTICATED. The first answer is
		// final: it can come from a wrong address, and the caller must learn of it.
		return failed.own || !w.begun
	case codes.OutOfRange: // no HTTP status becomes this code
		if w.request.GetAllSessions() != nil {
			return true
		}
		w.token, w.last, w.reset = "", position{}, true
	}
	return false
}

// retryAfter returns the wait that the server asks for, at most maxRetryAfter, or 0.
func retryAfter(err error) time.Duration {
	var failed *Error
	if errors.As(err, &failed) {
		return min(failed.RetryAfter, maxRetryAfter)
	}
	return 0
}
