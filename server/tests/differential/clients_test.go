package differential

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// atMost bounds every call. No fault lasts nearly as long, so a call that reaches it hangs.
	atMost = 8 * time.Second
	// withinABatch is a deadline that ends while a commit is under way.
	withinABatch = 2 * time.Millisecond
)

func bySession(id string) *verificationv1.GetStatusRequest_SessionId {
	return &verificationv1.GetStatusRequest_SessionId{SessionId: id}
}

// delivers brings events, in random order and up to five at a time, to both replicas.
func (r *round) delivers(ctx context.Context, rng *rand.Rand) {
	for pause(ctx, r.pace(rng, 4*time.Millisecond)) == nil {
		event, fresh := r.stripe.nextEvent(rng)
		var acknowledged atomic.Bool
		var each sync.WaitGroup
		for range 1 + rng.IntN(2)*rng.IntN(5) {
			own := rand.New(rand.NewPCG(rng.Uint64(), 0))
			each.Go(func() {
				within := []time.Duration{withinABatch, atMost, atMost}[own.IntN(3)]
				if r.deliver(ctx, own, event, within) == nil {
					acknowledged.Store(true)
				}
			})
		}
		each.Wait()
		if fresh && acknowledged.Load() {
			r.stripe.acknowledged(event.ID)
		}
		r.count("deliveries")
	}
}

// deliver brings one event to a replica.
func (r *round) deliver(ctx context.Context, rng *rand.Rand, event verification.Event, within time.Duration) error {
	defer r.calls.begin()()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := r.replicas[rng.IntN(2)].ingest.Apply(ctx, event)
	r.wantAnswer(ctx, "event "+event.ID, within)
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, context.DeadlineExceeded) {
		r.violation("event %s: %v", event.ID, err)
	}
	return err
}

// reads calls GetStatus, mostly with the newest known revision.
func (r *round) reads(ctx context.Context, rng *rand.Rand) {
	for pause(ctx, time.Duration(rng.Int64N(int64(3*time.Millisecond)))) == nil {
		id := r.stripe.anyID(rng)
		request := &verificationv1.GetStatusRequest{Subject: bySession(id), IncludeHistory: rng.IntN(5) == 0}
		switch rng.IntN(5) {
		case 0:
			request.Subject = &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: fmt.Sprintf("person %d", rng.IntN(6))}
		case 1, 2:
			request.MinRevision = r.knownOf(id)
		}
		_, err := r.get(ctx, r.replicas[rng.IntN(2)], request)
		r.wantKnown("GetStatus", err)
	}
}

// get asks a replica, and records the answer.
func (r *round) get(ctx context.Context, from *replica, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	defer r.calls.begin()()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	answered := r.recorder.AsksAt(from.name, request)
	response, err := from.GetStatus(ctx, request)
	answered(response, err)
	r.wantAnswer(ctx, "GetStatus", atMost)
	r.saw(response.GetVerification())
	events := make(map[string]bool)
	for _, entry := range response.GetHistory() {
		if id := entry.GetEventId(); id != "" && events[id] {
			r.violation("%s: event %s is in the history twice", response.GetVerification().GetSessionId(), id)
		}
		events[entry.GetEventId()] = true
	}
	r.count("GetStatus " + status.Code(err).String())
	return response, err
}

// retries calls RetryVerification, with replace_closed or without. Some callers give up.
func (r *round) retries(ctx context.Context, rng *rand.Rand) {
	for pause(ctx, r.pace(rng, 10*time.Millisecond)) == nil {
		request := &verificationv1.RetryVerificationRequest{SessionId: r.stripe.anyID(rng), ReplaceClosed: rng.IntN(3) == 0}
		within := []time.Duration{atMost, atMost, time.Duration(1+rng.IntN(30)) * time.Millisecond}[rng.IntN(3)]
		err := r.retry(ctx, r.replicas[rng.IntN(2)], request, within)
		if status.Code(err) != codes.FailedPrecondition {
			r.wantKnown("RetryVerification", err)
		}
	}
}

func (r *round) retry(ctx context.Context, from *replica, request *verificationv1.RetryVerificationRequest, within time.Duration) error {
	defer r.calls.begin()()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	response, err := from.RetryVerification(ctx, request)
	r.wantAnswer(ctx, "RetryVerification", within)
	r.recorder.Retry(request, response, err)
	r.saw(response.GetVerification())
	r.count("RetryVerification " + status.Code(err).String())
	return err
}

// wantAnswer says that a call was answered before its deadline, if that was not meant to come.
func (r *round) wantAnswer(ctx context.Context, what string, within time.Duration) {
	if within >= atMost && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.violation("%s: no answer within %v", what, within)
	}
}
