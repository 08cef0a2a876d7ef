//go:build load

package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// endedToResume is the end that a stream has when its server stops.
const endedToResume = "UNAVAILABLE, ERROR_REASON_DRAINING and RetryInfo"

// posters is how many webhooks are under way at once, at the most: fewer than WEBHOOK_MAX_IN_FLIGHT.
const posters = 64

// loadWatch is a session and the stream that watches it.
type loadWatch struct {
	id string
	// sent counts the session's events, without its first one. For sendAll alone.
	sent int
	// posted is the time at which the post of the event began that the watcher has not seen yet, in Unix nanoseconds. 0:
	// there is no such event.
	posted atomic.Int64
	// seen is the newest revision that came.
	seen atomic.Int32
}

// open returns once the session's status has come. The stream is followed until it ends.
func (w *loadWatch) open(ctx context.Context, l *streamLoad, client verificationv1.VerificationServiceClient) error {
	stream, err := client.WatchStatus(ctx, rig.WatchSessionRequest(w.id, ""))
	if err != nil {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}
	if got := response.GetVerification(); got.GetRevision() != 1 || got.GetSessionId() != w.id {
		return fmt.Errorf("the snapshot is %v", got)
	}
	w.seen.Store(1)
	l.watching.Go(func() { w.follow(l, stream) })
	return nil
}

// follow stores the latency of each revision, and everything that does not come exactly once and in order.
func (w *loadWatch) follow(l *streamLoad, stream grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]) {
	for {
		response, err := stream.Recv()
		now := time.Now()
		if err != nil {
			l.noteEnd(err, now)
			return
		}
		got, last := response.GetVerification(), w.seen.Load()
		posted := w.posted.Swap(0)
		l.mu.Lock()
		if got.GetRevision() != last+1 || got.GetSessionId() != w.id || posted == 0 {
			l.wrong = append(l.wrong, fmt.Sprintf("%s: revision %d of %s after %d, %d", w.id, got.GetRevision(), got.GetSessionId(), last, posted))
		}
		l.latencies = append(l.latencies, now.Sub(time.Unix(0, posted)))
		l.mu.Unlock()
		w.seen.Store(got.GetRevision())
	}
}

func (l *streamLoad) noteEnd(err error, at time.Time) {
	got := status.Convert(err)
	reason := rig.Detail[*errdetails.ErrorInfo](got).GetReason()
	why := fmt.Sprintf("%v %s %q", got.Code(), reason, got.Message())
	if got.Code() == codes.Unavailable && reason == verificationv1.ErrorReason_ERROR_REASON_DRAINING.String() &&
		rig.Detail[*errdetails.RetryInfo](got).GetRetryDelay() != nil {
		why = endedToResume
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[why]++
	if at.After(l.lastEnd) {
		l.lastEnd = at
	}
}

// sendAll posts events for random sessions, at an even pace, and waits until all watchers have seen theirs.
func (l *streamLoad) sendAll() {
	l.t.Helper()
	const events = int(eventsFor/time.Second) * eventsPerSecond
	type job struct {
		watch *loadWatch
		n     int
	}
	jobs := make(chan job)
	var posting sync.WaitGroup
	for range posters {
		posting.Go(func() {
			for j := range jobs {
				if err := l.post(j.watch, j.n); err != nil {
					l.t.Errorf("event %d of %s: %v", j.n, j.watch.id, err)
				}
			}
		})
	}
	cpu, began := l.p.CPU(), time.Now()
	for n := range events {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / eventsPerSecond)))
		w := l.pick()
		w.sent++
		jobs <- job{w, w.sent}
	}
	close(jobs)
	posting.Wait()
	took := time.Since(began)
	used := (l.p.CPU() - cpu).Seconds() / took.Seconds()
	l.awaitSeen()
	l.checkSeen(events, took, used)
	l.reportMemory("after that")
}

// pick is a random session of which nothing is under way, so that its events come in order.
func (l *streamLoad) pick() *loadWatch {
	for range 1000 {
		if w := l.watches[rand.IntN(len(l.watches))]; w.posted.CompareAndSwap(0, 1) {
			return w
		}
	}
	l.t.Fatal("nearly every watch waits for an event that was sent")
	return nil
}

// post sends a session's n-th event.
func (l *streamLoad) post(w *loadWatch, n int) error {
	e := rig.Tries(w.id, n+1)[n]
	signature := rig.Sign(time.Now(), rig.WebhookSecret, e.Body)
	w.posted.Store(time.Now().UnixNano())
	response, text, err := rig.Post(l.http, l.p.Webhook, signature, e.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return err
}

// awaitSeen waits until nothing is under way, as long as something still comes.
func (l *streamLoad) awaitSeen() {
	for over := time.Now().Add(rig.Soon); time.Now().Before(over); time.Sleep(50 * time.Millisecond) {
		if !slices.ContainsFunc(l.watches, func(w *loadWatch) bool { return int(w.seen.Load()) != 1+w.sent }) {
			return
		}
	}
}

// checkSeen reports what was missed, came twice or out of order.
func (l *streamLoad) checkSeen(events int, took time.Duration, used float64) {
	l.t.Helper()
	missed := 0
	for _, w := range l.watches {
		missed += 1 + w.sent - int(w.seen.Load())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("%s events in %.1f s, %s a second: %s delivered, %d missed, %d twice or out of order; the server took %.2f cores",
		grouped(events), took.Seconds(), grouped(int(float64(events)/took.Seconds())), grouped(len(l.latencies)), missed, len(l.wrong), used)
	l.t.Logf("from the beginning of the POST to the watcher: %s", rig.Quantiles(l.latencies))
	if missed != 0 || len(l.latencies) != events || len(l.wrong) != 0 {
		l.t.Errorf("%d of %d events were missed; wrong: %.10q", missed, events, l.wrong)
	}
}
