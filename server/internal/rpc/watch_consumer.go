package rpc

import (
	"context"
	"errors"
	"slices"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
)

const (
	// passOverAfter is the pause between two acknowledgements of what a watch passed over. Each is a write of the store.
	passOverAfter = time.Minute
	// passOverTimeout bounds one of them.
	passOverTimeout = time.Second
)

// consumer is the named consumer of a watch of all sessions.
type consumer struct {
	name   string
	stream *consumers.Stream
	// sent are the positions after the last entries that were sent: one for each partition. The watch passed over the entries
	// between them and feedWatch.positions.
	sent       []store.Position
	passOverAt time.Time // when passOver acknowledges next
}

// openConsumer takes the lease of the requested consumer, and finds the positions at which its stream begins. A request with a
// token does not create the consumer: its token shows that the consumer existed.
func (f *feedWatch) openConsumer(ctx context.Context, request *verificationv1.WatchStatusRequest) error {
	all, token := request.GetAllSessions(), request.GetResumeToken()
	if token != "" && !resumetoken.IsConsumer(token) {
		return resumetoken.ErrInvalid
	}
	if err := f.st.ended(); err != nil {
		return err // a server that stops must not take a lease
	}
	name := all.GetConsumer()
	opening := consumers.Request{Name: name, Caller: f.config.Principal(f.st.ctx), MustExist: all.GetMustExist() || token != ""}
	var own []store.Position
	if token != "" {
		opening.Own = func(incarnation uint64) error {
			decoded, err := resumetoken.DecodeConsumer(token, name, incarnation, f.sessions.Partitions())
			own = storePositions(decoded)
			return err
		}
	}
	opened, err := f.config.Consumers.Open(ctx, opening)
	if err != nil {
		return consumerError(err)
	}
	f.st.consumer, f.positions = opened, opened.Positions()
	f.consumer = &consumer{name: name, stream: opened, sent: opened.Positions(), passOverAt: time.Now().Add(passOverAfter)}
	if token == "" {
		return nil // Open has checked the positions
	}
	f.positions, f.consumer.sent = own, slices.Clone(own)
	return f.check(ctx, f.positions)
}

// consumerError returns the error of a call about a consumer. A consumer that is not found must not look like a session. A token of
// an earlier consumer of the same name is of one that does not exist.
func consumerError(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, resumetoken.ErrOtherIncarnation) {
		return errNoConsumer
	}
	return err
}

// lost returns the error that ends a stream of a consumer that another stream has taken over, or that was deleted.
func (st *stream) lost() error {
	if st.consumer == nil {
		return nil
	}
	select {
	case <-st.consumer.Lost():
	default:
		return nil
	}
	if err := st.consumer.Err(); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return errConsumerDeleted
}

// passOver acknowledges the entries that the watch passed over after the last entry that it sent, if the caller has
// acknowledged that one. So a consumer whose filter selects little does not expire. It does so at most once in passOverAfter.
func (f *feedWatch) passOver(now time.Time) {
	c := f.consumer
	if c == nil || now.Before(c.passOverAt) || slices.Equal(f.positions, c.sent) {
		return
	}
	c.passOverAt = now.Add(passOverAfter)
	// The end of the stream must not cancel it: that is when it is called last.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.st.ctx), passOverTimeout)
	defer cancel()
	_ = c.stream.PassOver(ctx, c.sent, f.positions) // if it fails, the next one covers these entries too
}

// close acknowledges what was passed over, and gives the lease back. err is the end of the watch.
func (f *feedWatch) close(err error) {
	c := f.consumer
	if c == nil {
		return
	}
	if !errors.Is(err, errStalled) { // then the step that sends still runs, and owns the positions
		c.passOverAt = time.Time{}
		f.passOver(time.Now())
	}
	c.stream.Close()
}
