package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Consume calls handle for the outcomes of all sessions, as the named consumer whose position the service keeps. A name has
// 1 to 64 characters of a-z, 0-9, '-', '_' and '.', and begins with a letter. The first stream of a name makes the consumer,
// which begins with the next outcome. A later run continues after the changes that were acknowledged.
//
//	err := c.Consume(ctx, "mailer", func(ctx context.Context, u client.Update) error {
//		return mail(ctx, u.Verification, u.Verification.GetOutcomeId())
//	})
//
// Consume acknowledges a change when handle has returned nil for it and for all changes before it. So each outcome is handled
// at least once. It can be handled again after a crash, or if two instances overlap for a moment. outcome_id makes it once in
// effect: it is the same in each repetition. Without a checkpoint, a run passes over an outcome that it has handled, if that
// was one of the last of them.
//
//   - Outcomes of one session are handled in order, those of different sessions side by side (see [Workers]).
//   - If handle returns an error, it is called again after a wait that grows from 1 s to 1 min (see [OnFailure]), until it
//     returns nil. [ErrBeginAgain] makes Consume begin with another stream instead. Only the changes of the same session wait meanwhile. If a change can never be handled, log it and return nil.
//   - While nothing is held, Consume acknowledges the token of a heartbeat once a minute: so a consumer whose filter selects
//     little does not fall behind.
//   - Consume holds at most 1,000 changes from the first one that is not handled on (see [MaxHeld]).
//   - One instance of a name is served at a time. Others stand by. One of them takes over within 15 s if the first one ends or
//     its process dies, and within 55 s if its machine loses power or network: the server needs up to 40 s to notice that. The
//     context of handle ends when Consume learns that another instance has taken over.
//   - A server that is older than consumers is passed over.
//   - A panic of handle is not recovered: it ends the program, and the change is handled again by the next run.
//
// When ctx ends, Consume starts no further handler and waits for those that run, for 10 s at most (see [DrainWithin]). Their
// context ends after that time, not with ctx. Then Consume acknowledges the last changes, gives the consumer back, and returns
// the error of ctx. The error also has that of the last acknowledgement if it failed. A handler that ignores the end of its
// context can outlive Consume.
//
// Consume resumes as Watch does, and ends with the errors that end a Watch, with [ErrClosed], [ErrTooManyConsumers], and
//
//   - with [ErrConsumerNotFound] if the consumer was deleted or the store has lost it. Each stream of a run but the first one
//     requires that the consumer exists. [MustExist] requires it of the first stream too: use it when the consumer has been made.
//   - with [ErrCheckpointLost] if the checkpoint has lost its token (see [WithCheckpoint]).
//   - with [ErrConsumerExpired] if changes that were not acknowledged are gone.
func (c *Client) Consume(ctx context.Context, name string, handle func(context.Context, Update) error, options ...ConsumeOption) error {
	r, err := c.newConsumption(name, handle, options)
	if err != nil {
		return err
	}
	return r.run(ctx)
}

const (
	defaultMaxHeld     = 1000
	mostHeld           = 1_000_000 // more changes than this take gigabytes
	defaultDrainWithin = 10 * time.Second
	// obeyWithin is the time that a handler has to return after its context has ended.
	obeyWithin = time.Second
	// acknowledgeTimeout bounds one try of an acknowledgement, and the last one with all its tries.
	acknowledgeTimeout = 5 * time.Second
)

// consumption is one run of Consume: a watch that receives, handlers, and acknowledgements.
type consumption struct {
	client *Client
	watch  *watch
	all    *verificationv1.AllSessions // of the watch's request

	handle      func(context.Context, Update) error
	workers     int
	limit       int
	each        bool
	drainWithin time.Duration
	checkpoint  Checkpoint
	onFailure   func(Update, error, time.Duration)

	held       *held
	acks       *acknowledger
	failed     chan error  // of an acknowledgement that cannot succeed
	served     bool        // a server has answered with the consumer
	fresh      bool        // the stream does not continue the one before
	passOverAt time.Time   // when a heartbeat is acknowledged next
	mustExist  bool        // the caller says that the consumer has been made
	hadToken   atomic.Bool // the checkpoint has had a token in this run
	isNew      bool        // the checkpoint has no token yet, and nothing was acknowledged when this run began
}

func (c *Client) newConsumption(name string, handle func(context.Context, Update) error, options []ConsumeOption) (*consumption, error) {
	r := &consumption{
		client: c, handle: handle, workers: 1, limit: defaultMaxHeld, drainWithin: defaultDrainWithin,
		all:       &verificationv1.AllSessions{Consumer: name, OutcomesOnly: true},
		onFailure: func(Update, error, time.Duration) {},
		failed:    make(chan error, 1),
	}
	r.watch = newWatch(c, &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: r.all}})
	r.watch.consumer = r
	for _, option := range options {
		option.changeConsume(r)
	}
	r.watch.bookmarks, r.mustExist = r.checkpoint != nil, r.all.GetMustExist()
	var problems []error
	if name == "" {
		problems = append(problems, errors.New("a consumer needs a name"))
	}
	if r.workers < 1 || r.limit < 1 || r.drainWithin < 0 {
		problems = append(problems, fmt.Errorf("Workers(%d), MaxHeld(%d) and DrainWithin(%v): at least 1, 1 and 0", r.workers, r.limit, r.drainWithin))
	}
	if r.limit > mostHeld {
		problems = append(problems, fmt.Errorf("MaxHeld(%d): at most %d", r.limit, mostHeld))
	}
	if r.checkpoint != nil && r.workers > 1 {
		problems = append(problems, errors.New("WithCheckpoint contradicts Workers: changes are handled one after the other with a checkpoint"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("client: consume: %w", err)
	}
	return r, checkText("the name of the consumer", name)
}

// run consumes until ctx ends or an error ends it.
func (r *consumption) run(ctx context.Context) error {
	// The stream outlives ctx by the drain, so that no other instance takes over before the last acknowledgement.
	open, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(r.client.open, func() { end(ErrClosed) })()
	r.acks = newAcknowledger(r)
	r.held = newHeld(open, r)

	var working sync.WaitGroup
	received := make(chan error, 1)
	working.Go(func() { received <- r.receive(open) })
	working.Go(func() { r.acks.run(open) })
	var err error
	select {
	case <-ctx.Done():
		err = fmt.Errorf("client: consume: %w", ctx.Err())
	case err = <-r.failed:
	case err = <-received:
	}
	err = errors.Join(err, r.drain(open, ctx.Err() != nil))
	end(nil)
	working.Wait()
	return err
}

// drain waits for the handlers that run and acknowledges what they have done. It returns the error of the acknowledgement if
// report is set.
func (r *consumption) drain(open context.Context, report bool) error {
	r.held.stop(r.drainWithin)
	ctx, cancel := context.WithTimeout(open, acknowledgeTimeout)
	defer cancel()
	if err := r.acks.flush(ctx); err != nil && report {
		return fmt.Errorf("client: consume: the last acknowledgement: %w", err)
	}
	return nil
}

// receive follows one stream after the other and holds what they send. It returns the error that ended it.
func (r *consumption) receive(open context.Context) error {
	var last error
	r.watch.run(open, func(update Update, err error) bool {
		if err != nil {
			last = err
			return false
		}
		return r.held.add(update)
	})
	switch {
	case last == nil:
		return endOf(open) // it ended while a change waited for room
	case errors.Is(last, ErrResumeTokenInvalid):
		return &replacedError{cause: last, checkpoint: r.checkpoint != nil}
	}
	return last
}
