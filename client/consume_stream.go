package client

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

var (
	// errOlder: a server does not know consumers or outcomes.
	errOlder = errors.New("client: the server is older than consumers; another one is tried")
	// errBegunAgain is the cause of a stream's end if Consume must begin again after the changes that were acknowledged.
	errBegunAgain = errors.New("client: the consumer begins again after what was acknowledged or saved")
	// errRoom is the cause of a stream's end if Consume can hold again what it skipped.
	errRoom = errors.New("client: the consumer has handled changes and has room for those that it skipped")
)

const (
	// olderTries is the number of tries after which Consume gives up if no server knows consumers.
	olderTries = 20
	// leaseTime is the longest time until a consumer is free whose stream was lost.
	leaseTime = 15 * time.Second
	// passOverAfter is the shortest time between two acknowledgements of heartbeats.
	passOverAfter = time.Minute
)

// begin prepares the next stream. With a checkpoint it begins there, because another instance can have moved it.
func (r *consumption) begin(ctx context.Context, cancel context.CancelCauseFunc) error {
	if r.checkpoint != nil {
		r.held.drop(errBegunAgain)
	}
	r.watch.token = r.held.follow(cancel, r.watch.token)
	r.fresh = r.watch.token == ""
	if r.checkpoint == nil {
		return nil
	}
	if err := r.held.awaitIdle(ctx); err != nil {
		return err
	}
	token, err := r.load(ctx)
	if err != nil {
		return err
	}
	r.watch.token = token
	r.all.MustExist = r.all.MustExist || token != ""
	return nil
}

// accept returns an error if a response shows that the server is too old, or the first one of a stream is of another consumer
// of the same name, or does not begin at the checkpoint. It acknowledges heartbeats.
func (r *consumption) accept(ctx context.Context, response *verificationv1.WatchStatusResponse, first bool) error {
	if first {
		if response.GetConsumer() != r.all.GetConsumer() {
			return errOlder
		}
		r.served, r.all.MustExist = true, true
		if err := r.prove(ctx, response.GetResumeToken()); err != nil {
			return err
		}
		if r.checkpoint != nil {
			if err := r.checkCheckpoint(ctx); err != nil {
				return err
			}
		}
	}
	v := response.GetVerification()
	if v != nil && v.GetOutcomeRevision() == 0 {
		return errOlder
	}
	if v == nil && !first {
		r.passOver(response.GetResumeToken())
	}
	return nil
}

// passOver acknowledges the token of a heartbeat if everything before it is handled: what follows the last change was passed over.
// The service acknowledges that by itself, but not on a stream that it has begun at a token: it does not know whether the changes
// before the token are handled. With a checkpoint, heartbeats are acknowledged as changes are.
func (r *consumption) passOver(token string) {
	if r.checkpoint != nil || token == r.acks.lastToken() || time.Now().Before(r.passOverAt) {
		return
	}
	if r.held.passOver(token) {
		r.passOverAt = time.Now().Add(passOverAfter)
	}
}

// prove returns ErrConsumerNotFound if a stream that began without a token of this run is of another consumer than the streams
// before it: the consumer was deleted and made again while this instance stood by. To acknowledge a token again that was
// acknowledged changes nothing, and the service takes only tokens of the same consumer.
func (r *consumption) prove(ctx context.Context, begun string) error {
	if !r.fresh {
		return nil // the service has taken the token
	}
	if token := r.acks.lastToken(); token != "" {
		if err := r.acks.send(ctx, token); err != nil && !errors.Is(err, ErrResumeTokenExpired) {
			return err
		}
	}
	r.acks.setLast(begun)
	return nil
}

// isFinal reports whether an error ends Consume, where that differs from a watch. Otherwise decided is false.
func (r *consumption) isFinal(ctx context.Context, err error) (final, decided bool) {
	var failed *Error
	switch errors.As(err, &failed); {
	case errors.Is(err, errDamaged):
		return true, true
	case errors.Is(err, errBegunAgain): // it also has the error of the acknowledgement, which is not the stream's
		return false, true
	case errors.Is(err, ErrConsumerNotFound), errors.Is(err, ErrConsumerExpired), errors.Is(err, ErrTooManyConsumers),
		errors.Is(err, ErrCheckpointLost):
		return true, true
	case errors.Is(err, ErrResumeTokenInvalid):
		return r.isReplaced(ctx), true
	case errors.Is(err, ErrConsumerBusy):
		r.all.MustExist = true // it exists
		r.held.drop(err)
		return false, true
	case errors.Is(err, ErrResumeTokenExpired) && r.watch.token != "" && r.checkpoint == nil:
		r.held.drop(err)
		return false, true
	case errors.Is(err, errOlder), failed != nil && failed.Code == codes.Unimplemented:
		return !r.served && r.watch.failures+1 >= olderTries, true
	}
	return false, false
}

// isReplaced reports, after a stream has refused its token, whether another consumer has the name now. A server that is older than
// consumers refuses their tokens too, but it does not know acknowledgements.
func (r *consumption) isReplaced(ctx context.Context) bool {
	err := r.acks.send(ctx, cmp.Or(r.acks.lastToken(), r.watch.token)) // it was acknowledged, or is the checkpoint's
	return errors.Is(err, ErrResumeTokenInvalid) || errors.Is(err, ErrConsumerNotFound)
}

// interrupted acknowledges at once what was handled, because another instance can take over. It returns the random part of the
// wait before the next stream: a standby must not come later than leaseTime.
func (r *consumption) interrupted(err error, asked, random time.Duration) time.Duration {
	r.acks.hurry()
	if errors.Is(err, ErrConsumerBusy) {
		r.watch.failures = 0
		random = min(random, max(leaseTime-asked, 0))
	}
	return random
}
