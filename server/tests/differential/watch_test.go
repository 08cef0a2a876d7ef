package differential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
)

const (
	// watchedWithin bounds the time at the end until a watch has shown everything.
	watchedWithin = 10 * time.Second
	// quietFor is how long nothing must have come, at the end, when nothing happens any more.
	quietFor = 3 * time.Second
)

// watcher is a client that watches, is cut, and resumes at either replica.
type watcher struct {
	*round
	rng     *rand.Rand
	kind    string
	forever bool // one watch from the beginning to the end
	request *verificationv1.WatchStatusRequest
	record  *checker.Watch
	shown   map[string]int32 // the newest revision of each session
}

// watchers are the watches of a round: of sessions, references and all sessions.
func (r *round) watchers() (all []*watcher) {
	for n, kind := range []string{"all", "session", "session", "session", "session", "reference", "reference", "reference", "all", "all"} {
		w := &watcher{round: r, rng: r.choices.of(uint64(400 + n)), kind: kind, forever: n < 2}
		w.begin()
		all = append(all, w)
	}
	return all
}

// begin chooses the subject of a watch, without a token.
func (w *watcher) begin() {
	w.request, w.shown = &verificationv1.WatchStatusRequest{}, make(map[string]int32)
	switch w.kind {
	case "all":
		w.request.Subject = &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}
	case "session":
		w.request.Subject = &verificationv1.WatchStatusRequest_SessionId{SessionId: w.stripe.anyID(w.rng)}
	case "reference":
		w.request.Subject = &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: fmt.Sprintf("person %d", w.rng.IntN(6))}
	}
	w.record = w.recorder.Watch(w.request)
}

func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !w.forever && w.rng.IntN(12) == 0 {
			w.begin()
		}
		life, cancel := context.WithTimeout(ctx, time.Duration(w.rng.Int64N(int64(1500*time.Millisecond))))
		err := w.stream(life, func() {})
		if life.Err() != nil {
			err = errCut
		}
		w.record.Ended(err)
		w.restart(err)
		cancel()
		_ = pause(ctx, time.Duration(w.rng.Int64N(int64(20*time.Millisecond))))
	}
}

// restart drops the token where the service said so.
func (w *watcher) restart(err error) {
	w.count("watch of " + w.kind + ": " + status.Code(err).String())
	switch status.Code(err) {
	case codes.OutOfRange:
		w.request.ResumeToken, w.shown = "", make(map[string]int32)
	case codes.NotFound:
		if !w.forever {
			w.begin()
		}
	}
	if !errors.Is(err, io.EOF) {
		w.wantKnown("WatchStatus", err)
	}
}

// errCut is the end of a stream that its client cut off.
var errCut = status.Error(codes.DeadlineExceeded, "cut off")

// stream is one stream of the watch, until it ends.
func (w *watcher) stream(ctx context.Context, came func()) error {
	w.record.Opened(w.request.GetResumeToken())
	stream, err := w.replicas[w.rng.IntN(2)].WatchStatus(ctx, w.request)
	for err == nil {
		var response *verificationv1.WatchStatusResponse
		if response, err = stream.Recv(); err != nil {
			break
		}
		came()
		w.record.Response(response)
		w.request.ResumeToken = response.GetResumeToken()
		if v := response.GetVerification(); v != nil {
			w.saw(v)
			w.shown[v.GetSessionId()] = v.GetRevision()
		}
	}
	return err
}

// endWatches lets each watch of a session or of all sessions show the rest, and ends it. Then the checker decides whether
// it has shown everything.
func (r *round) endWatches(all []*watcher) {
	var ending sync.WaitGroup
	for _, w := range all {
		if w.kind != "reference" && w.request.GetResumeToken() != "" {
			ending.Go(w.end)
		}
	}
	ending.Wait()
}

func (w *watcher) end() {
	for deadline := time.Now().Add(watchedWithin); ; {
		life, cancel := context.WithCancel(w.t.Context())
		idle := time.AfterFunc(quietFor, cancel)
		answered := w.kind != "all" // a watch of all begins with a bookmark, behind which the changes come
		err := w.stream(life, func() { answered = true; idle.Reset(quietFor) })
		idle.Stop()
		quiet := life.Err() != nil
		cancel()
		switch {
		case quiet && answered && w.complete():
			w.record.Ended(status.Error(codes.Canceled, "the client has all"))
			return
		case quiet:
			w.record.Ended(errCut)
		default:
			w.record.Ended(err)
			w.restart(err)
			if w.request.GetResumeToken() == "" {
				return // settled: a new watch would only end
			}
		}
		if time.Now().After(deadline) {
			w.violation("watch of %s: not complete %v after all was quiet; it has shown %v", w.kind, watchedWithin, w.shown)
			return
		}
	}
}

// complete returns whether the watch has shown the newest revision of its subject. For a watch of all sessions only the
// sessions that it has shown count: the checker knows of the others.
func (w *watcher) complete() bool {
	for id, revision := range w.shown {
		if s, err := w.replicas[0].store.Get(w.t.Context(), id); err != nil || s.Revision > revision {
			return false
		}
	}
	return true
}
