package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Consume acknowledges when so many changes are handled, or so long after the first one.
const (
	acknowledgeChanges = 100
	acknowledgeWithin  = time.Second
)

// acknowledger acknowledges the longest finished beginning of a consumer's changes.
type acknowledger struct {
	*consumption
	some    chan struct{} // something must be acknowledged
	now     chan struct{} // it must not wait
	sending chan struct{} // held by the flush that sends

	mu      sync.Mutex
	token   string // to acknowledge; "": nothing
	changes int
	last    string // was acknowledged, by this run or by the one before
}

func newAcknowledger(r *consumption) *acknowledger {
	return &acknowledger{consumption: r, some: make(chan struct{}, 1), now: make(chan struct{}, 1), sending: make(chan struct{}, 1)}
}

// add sets the token to acknowledge. It stands for this number of further changes.
func (a *acknowledger) add(token string, changes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.changes = token, a.changes+changes
	signal(a.some)
	if a.changes >= acknowledgeChanges {
		signal(a.now)
	}
}

// hurry acknowledges what is left without a wait.
func (a *acknowledger) hurry() { signal(a.now) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run acknowledges in batches until ctx ends.
func (a *acknowledger) run(ctx context.Context) {
	for {
		select {
		case <-a.some:
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(acknowledgeWithin)
		select {
		case <-timer.C:
		case <-a.now:
		case <-ctx.Done():
		}
		timer.Stop()
		_ = a.flush(ctx) // it has reported the error
	}
}

// flush acknowledges what is left. It tries until it succeeds, ctx ends, or another try cannot succeed.
func (a *acknowledger) flush(ctx context.Context) error {
	select {
	case a.sending <- struct{}{}:
		defer func() { <-a.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for failures := 1; ; failures++ {
		token, changes := a.left()
		if token == "" {
			return nil
		}
		err := a.send(ctx, token)
		switch {
		case err == nil:
			a.acknowledged(token, changes)
			return nil
		case ctx.Err() != nil:
			return err
		case errors.Is(err, ErrResumeTokenExpired) && a.checkpoint == nil:
			a.held.beginAgain(err)
			return err
		case cannotSucceed(err):
			if errors.Is(err, ErrResumeTokenInvalid) {
				err = &replacedError{cause: err}
			}
			a.clear()
			select {
			case a.failed <- err:
			default:
			}
			return err
		}
		asked, random := retryAfter(err), a.client.backoff.random(failures)
		a.watch.onInterruption(fmt.Errorf("client: acknowledge: %w", err), asked+random)
		if !sleep(ctx, asked+random) {
			return err
		}
	}
}

func (a *acknowledger) send(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTimeout)
	defer cancel()
	_, err := a.client.feed.AcknowledgeChanges(ctx, &verificationv1.AcknowledgeChangesRequest{Consumer: a.all.GetConsumer(), ResumeToken: token})
	if err != nil {
		return newError(err)
	}
	return nil
}

// cannotSucceed reports whether an acknowledgement that failed with err cannot succeed in another try. A proxy's answer can
// change. A server that does not know the call is older than consumers.
func cannotSucceed(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) || !failed.own {
		return false
	}
	switch failed.Code {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.OutOfRange:
		return true
	}
	return false
}

// replacedError is the error of a consumer that has the name of an earlier one. It is ErrConsumerNotFound only: the token that
// the service refused is not the caller's.
type replacedError struct {
	cause      error
	checkpoint bool // the token was a checkpoint's: it can also be damaged, or of a consumer with another name
}

func (e *replacedError) Error() string {
	why := "it was deleted, and another one has its name"
	if e.checkpoint {
		why += ", or the token of the checkpoint is not one of this consumer"
	}
	return fmt.Sprintf("%v: %s: %v", ErrConsumerNotFound, why, e.cause)
}

func (e *replacedError) Is(target error) bool { return target == ErrConsumerNotFound }

// As finds the *Error of the service.
func (e *replacedError) As(target any) bool { return errors.As(e.cause, target) }

func (a *acknowledger) left() (token string, changes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token, a.changes
}

func (a *acknowledger) acknowledged(token string, changes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changes, a.last = a.changes-changes, token
	if a.token == token {
		a.token, a.changes = "", 0
	}
}

func (a *acknowledger) lastToken() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *acknowledger) setLast(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = token
}

// clear acknowledges nothing of what is left.
func (a *acknowledger) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.changes = "", 0
}
