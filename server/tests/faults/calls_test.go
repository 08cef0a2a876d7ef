//go:build faults

package faults

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// retry asks for another try, as often as a well-behaved caller does. It returns the link, or the empty text.
func (p *applicant) retry(ctx context.Context, replace bool) (link string) {
	request := &verificationv1.RetryVerificationRequest{SessionId: p.id, ReplaceClosed: replace}
	p.replacing = replace
	for range 4 {
		client := p.client(p.rng)
		if client == nil {
			_ = pause(ctx, 300*time.Millisecond)
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 15*time.Second)
		done := p.calls.begin()
		response, err := client.RetryVerification(limited, request)
		p.recorder.Retry(request, response, err)
		done()
		cancel()
		switch status.Code(err) {
		case codes.OK:
			p.replacing = false
			if id := response.GetVerification().GetSessionId(); id != p.id {
				p.goesOnWith(id)
			}
			p.saw(response.GetVerification())
			return response.GetUrl()
		case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.Canceled:
			_ = pause(ctx, time.Duration(p.rng.Int64N(int64(time.Second))))
		case codes.FailedPrecondition:
			p.replacing = false
			return ""
		default:
			p.t.Errorf("%s: RetryVerification: %v", p.id, err)
			return ""
		}
	}
	return ""
}

// retryMeanwhile lets impatient backends call at the same time, once each. Their links are not used.
func (p *applicant) retryMeanwhile(calls int) {
	request := &verificationv1.RetryVerificationRequest{SessionId: p.id}
	for range calls {
		client := p.client(p.rng)
		if client == nil {
			return
		}
		p.people.Go(func() {
			ctx, cancel := context.WithTimeout(p.living, 15*time.Second)
			defer cancel()
			defer p.calls.begin()()
			response, err := client.RetryVerification(ctx, request)
			p.recorder.Retry(request, response, err)
		})
	}
}

// ask gets the status, mostly at least as fresh as the newest revision seen.
func (p *applicant) ask() {
	request := &verificationv1.GetStatusRequest{}
	p.mu.Lock()
	switch p.rng.IntN(5) {
	case 0:
		request.Subject = &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: p.reference}
	default:
		request.Subject = &verificationv1.GetStatusRequest_SessionId{SessionId: p.id}
		request.MinRevision = p.seen
	}
	p.mu.Unlock()
	response, err := p.get(p.rng, request, 5*time.Second)
	switch {
	case err == nil:
		p.saw(response.GetVerification())
	case status.Code(err) == codes.OutOfRange:
		p.mu.Lock()
		p.seen = 0
		p.mu.Unlock()
	}
}

// get asks any replica, and records the answer.
func (w *faultRig) get(rng *rand.Rand, request *verificationv1.GetStatusRequest, within time.Duration) (*verificationv1.GetStatusResponse, error) {
	client := w.client(rng)
	if client == nil {
		return nil, errNoReplica
	}
	ctx, cancel := context.WithTimeout(w.watching, within)
	defer cancel()
	defer w.calls.begin()()
	answered := w.recorder.Asks(request)
	response, err := client.GetStatus(ctx, request)
	answered(response, err)
	w.wantKnown("GetStatus", err)
	return response, err
}

// wantKnown says that an error is one that clients must expect while things break.
func (w *faultRig) wantKnown(what string, err error) {
	switch status.Code(err) {
	case codes.OK, codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.OutOfRange, codes.NotFound:
	case codes.Unknown:
		if !strings.Contains(err.Error(), "EOF") {
			w.t.Errorf("%s: %v", what, err)
		}
	default:
		w.t.Errorf("%s: %v", what, err)
	}
}

// underWay counts calls or streams that clients have begun and not ended.
type underWay struct {
	mu    sync.Mutex
	group *sync.WaitGroup
}

// begin notes one, which is under way until done is called.
func (u *underWay) begin() (done func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.group == nil {
		u.group = &sync.WaitGroup{}
	}
	u.group.Add(1)
	return u.group.Done
}

// now returns what is in flight now, without what begins later.
func (u *underWay) now() *sync.WaitGroup {
	u.mu.Lock()
	defer u.mu.Unlock()
	group := u.group
	u.group = nil
	if group == nil {
		group = &sync.WaitGroup{}
	}
	return group
}

// endedWithin returns whether all of a group ended in time. It continues to wait for the rest in a goroutine.
func endedWithin(group *sync.WaitGroup, limit time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		group.Wait()
	}()
	select {
	case <-ended:
		return true
	case <-time.After(limit):
		return false
	}
}
