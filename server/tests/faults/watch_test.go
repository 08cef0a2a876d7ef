//go:build faults

package faults

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
)

// follower is one logical watch: it resumes on any replica, after faults and after cuts of its own.
type follower struct {
	*faultRig
	rng     *rand.Rand
	record  *checker.Watch
	request *verificationv1.WatchStatusRequest
	saw     func(*verificationv1.Verification)
}

// watch starts the watches of the person's backend: of the session, of the person, or both.
func (p *applicant) watch(ctx context.Context) {
	bySession := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: p.id}, UntilSettled: p.rng.IntN(2) == 0}
	byReference := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: p.reference}, UntilSettled: p.rng.IntN(3) == 0}
	kind := p.rng.IntN(10)
	if kind < 8 {
		p.follow(ctx, p.rng.Uint64(), bySession, p.saw)
	}
	if kind > 6 {
		p.follow(ctx, p.rng.Uint64(), byReference, p.saw)
	}
}

// watchEverything starts watches of all sessions, which last until the end.
func (w *faultRig) watchEverything(n int) {
	rng := w.plan.rand(2)
	for range n {
		request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}}
		w.follow(w.watching, rng.Uint64(), request, func(*verificationv1.Verification) { w.updates.note() })
	}
}

func (w *faultRig) follow(ctx context.Context, seed uint64, request *verificationv1.WatchStatusRequest, saw func(*verificationv1.Verification)) {
	f := &follower{faultRig: w, rng: rand.New(rand.NewPCG(seed, 0)), record: w.recorder.Watch(request), request: request, saw: saw}
	w.watches.Go(func() { f.run(ctx) })
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil && !f.stream(ctx) {
		_ = pause(ctx, time.Duration(f.rng.Int64N(int64(300*time.Millisecond))))
	}
}

// stream is one stream of the watch; done says that no other must follow.
func (f *follower) stream(ctx context.Context) (done bool) {
	client := f.client(f.rng)
	if client == nil {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cut := -1 // none
	if f.rng.IntN(3) == 0 {
		cut = 1 + f.rng.IntN(8)
	}
	open := func() {}
	defer func() { open() }()
	f.record.Opened(f.request.GetResumeToken())
	stream, err := client.WatchStatus(ctx, f.request)
	for first := true; err == nil; first = false {
		var response *verificationv1.WatchStatusResponse
		if response, err = stream.Recv(); err != nil {
			break
		}
		// Only now it is known that the server has begun the stream: before, a loss can come first, and the stream begins after it.
		if first && f.request.GetAllSessions() != nil {
			open = f.feeds.begin()
		}
		f.record.Response(response)
		f.request.ResumeToken = response.GetResumeToken()
		if v := response.GetVerification(); v != nil {
			f.saw(v)
		}
		if cut--; cut == 0 {
			err = status.Error(codes.Canceled, "the client has enough")
		}
	}
	f.record.Ended(err)
	switch {
	case errors.Is(err, io.EOF):
		return true
	case status.Code(err) == codes.OutOfRange:
		f.request.ResumeToken = "" // start again, as the contract says
	}
	f.wantKnown("WatchStatus", err)
	return false
}

// updateTime is the time of the last response.
type updateTime struct {
	mu   sync.Mutex
	last time.Time
}

func (n *updateTime) note() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = time.Now()
}

func (n *updateTime) quietFor() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.last)
}
