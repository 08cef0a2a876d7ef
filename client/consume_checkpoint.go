package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// errMoved: the checkpoint has moved while a stream was opened.
var errMoved = errors.New("client: another instance has moved the checkpoint; Consume begins there")

// loadTimeout bounds one try of Checkpoint.Load.
const loadTimeout = 30 * time.Second

// load returns the token that the checkpoint has. No handler must run.
func (r *consumption) load(ctx context.Context) (token string, err error) {
	ctx, done := context.WithTimeout(ctx, loadTimeout)
	defer done()
	token, err = r.checkpoint.Load(ctx)
	if err != nil {
		return "", fmt.Errorf("client: load the checkpoint: %w", err)
	}
	if token != "" {
		r.hadToken.Store(true)
	}
	return token, nil
}

// checkCheckpoint returns an error if the stream, which has the consumer now, does not begin at the checkpoint, or if the checkpoint was
// lost. Until the stream has the consumer, another instance can move the checkpoint.
func (r *consumption) checkCheckpoint(ctx context.Context) error {
	token, err := r.load(ctx)
	switch {
	case err != nil:
		return err
	case token != r.watch.token:
		return errMoved
	case token != "":
		return nil
	}
	lost := r.mustExist || r.hadToken.Load()
	if !lost && !r.isNew {
		if lost, err = r.hasAcknowledged(ctx); err != nil {
			return err
		}
	}
	if lost {
		return fmt.Errorf("client: consume: %w", ErrCheckpointLost)
	}
	r.isNew = true
	return nil
}

// hasAcknowledged reports whether the consumer has acknowledged anything. It returns false if the caller may not ask.
func (r *consumption) hasAcknowledged(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTimeout)
	defer cancel()
	listed, err := r.client.feed.ListConsumers(ctx, &verificationv1.ListConsumersRequest{})
	if err != nil {
		err = newError(err)
		var failed *Error
		if errors.As(err, &failed) && (failed.Code == codes.Unimplemented || failed.own && failed.Code == codes.PermissionDenied) {
			return false, nil
		}
		return false, err
	}
	for _, consumer := range listed.GetConsumers() {
		if consumer.GetName() == r.all.GetConsumer() {
			return consumer.GetAcknowledgeTime() != nil, nil
		}
	}
	return false, nil
}
