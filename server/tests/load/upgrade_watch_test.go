//go:build load

package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/tests/rig"
)

// recordOf is the key of a watch's record in its context.
type recordOf struct{}

// recordedStream reports the streams of one watch to its record, beneath the Go client.
type recordedStream struct {
	grpc.ClientStream
	record *checker.Watch
}

func recordStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, options...)
	record, ok := ctx.Value(recordOf{}).(*checker.Watch)
	if err != nil || !ok {
		return stream, err
	}
	return recordedStream{stream, record}, nil
}

func (s recordedStream) SendMsg(m any) error {
	if request, ok := m.(*verificationv1.WatchStatusRequest); ok {
		s.record.Opened(request.GetResumeToken())
	}
	return s.ClientStream.SendMsg(m)
}

func (s recordedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	response, ok := m.(*verificationv1.WatchStatusResponse)
	switch {
	case err != nil:
		s.record.Ended(err)
	case ok && response.GetVerification() == nil && response.GetResumeToken() == "":
		// The contract's heartbeat before the first status, such as that of a watch of a reference that a redaction has erased. The
		// checker knows only heartbeats with a token.
	case ok:
		s.record.Response(response)
	}
	return err
}

// recordCall reports calls of GetStatus and RetryVerification to the recorder.
func (u *upgrade) recordCall(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) error {
	switch request := request.(type) {
	case *verificationv1.GetStatusRequest:
		answered := u.recorder.Asks(request)
		err := invoker(ctx, method, request, reply, conn, options...)
		response, _ := reply.(*verificationv1.GetStatusResponse)
		answered(response, err)
		return err
	case *verificationv1.RetryVerificationRequest:
		err := invoker(ctx, method, request, reply, conn, options...)
		response, _ := reply.(*verificationv1.RetryVerificationResponse)
		u.recorder.Retry(request, response, err)
		return err
	}
	return invoker(ctx, method, request, reply, conn, options...)
}

// interrupted counts why watches lost their streams.
func (u *upgrade) interrupted(what string) client.StreamOption {
	return client.OnInterruption(func(err error, _ time.Duration) {
		reason := "no answer of a server"
		var failure *client.Error
		if errors.As(err, &failure) {
			reason = failure.Code.String() + " " + failure.Reason.String()
		}
		u.streams.add(what + ": " + reason)
	})
}

// watchSession watches a session until the test ends, and shows each change to the person.
func (p *person) watchSession(id string) {
	record := p.recorder.Watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}})
	p.watches.Go(func() {
		ctx := context.WithValue(p.watching, recordOf{}, record)
		var last *verificationv1.Verification
		for update, err := range p.watcher.Watch(ctx, client.Session(id), p.interrupted("watches of a session")) {
			if err != nil {
				p.ended("the watch of "+id, err)
				return
			}
			v := update.Verification
			if hole := last != nil && !follows(last, v); update.Reset || hole {
				p.wrong("the watch of %s: revision %d after %d, reset %v", id, v.GetRevision(), last.GetRevision(), update.Reset)
			}
			last = v
			p.sees(v)
		}
	})
}

// watchReference watches whichever session has the person's reference.
func (p *person) watchReference() {
	subject := &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: p.reference}
	record := p.recorder.Watch(&verificationv1.WatchStatusRequest{Subject: subject})
	p.watches.Go(func() {
		ctx := context.WithValue(p.watching, recordOf{}, record)
		for update, err := range p.watcher.Watch(ctx, client.Reference(p.reference), p.interrupted("watches of a reference")) {
			switch {
			case errors.Is(err, client.ErrNotFound): // a redaction erases the reference
				return
			case err != nil:
				p.ended("the watch of "+p.reference, err)
				return
			case update.Reset:
				p.wrong("the watch of %s was reset", p.reference)
			}
		}
	})
}

// ended reports the end of a watch that the test has not ended.
func (u *upgrade) ended(what string, err error) {
	if u.watching.Err() == nil {
		u.wrong("%s ended: %v", what, err)
	}
}

// follows returns whether a revision comes after another one without a hole. A redaction collapses revisions.
func follows(last, v *verificationv1.Verification) bool {
	none := verificationv1.Redaction_REDACTION_UNSPECIFIED
	redacted := last.GetRedaction() == none && v.GetRedaction() != none
	return v.GetRevision() == last.GetRevision()+1 || redacted && v.GetRevision() > last.GetRevision()
}

// feedWatch is a watch of all sessions, from before the first one.
type feedWatch struct {
	begun chan struct{}

	mu      sync.Mutex
	seen    map[string]*verificationv1.Verification // the newest of each session
	repeats int
}

// watchEverything opens watches of all sessions, each with a client of its own.
func (u *upgrade) watchEverything(n int) {
	u.t.Helper()
	u.watcher = u.dial(grpc.WithChainStreamInterceptor(recordStream))
	u.reader, u.caller = u.dial(grpc.WithChainUnaryInterceptor(u.recordCall)), u.dial(grpc.WithChainUnaryInterceptor(u.recordCall))
	for range n {
		f := &feedWatch{begun: make(chan struct{}), seen: map[string]*verificationv1.Verification{}}
		u.everything = append(u.everything, f)
		record := u.recorder.Watch(rig.WatchAllRequest(""))
		dialed := u.dial(grpc.WithChainStreamInterceptor(recordStream))
		u.watches.Go(func() {
			begin := sync.OnceFunc(func() { close(f.begun) })
			ctx := context.WithValue(u.watching, recordOf{}, record)
			for update, err := range dialed.WatchAll(ctx, client.Bookmarks(), u.interrupted("watches of all sessions")) {
				if err != nil {
					u.ended("a watch of all sessions", err)
					return
				}
				begin()
				if err := f.see(update.Verification); err != nil {
					u.wrong("a watch of all sessions: %v", err)
				}
			}
		})
		select {
		case <-f.begun:
		case <-time.After(rig.Soon):
			u.t.Fatal("a watch of all sessions does not begin")
		}
	}
}

// see notes a change. G6 allows repeats.
func (f *feedWatch) see(v *verificationv1.Verification) error {
	if v == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.seen[v.GetSessionId()]
	switch {
	case v.GetRevision() <= last.GetRevision():
		f.repeats++
		return nil
	case !follows(last, v):
		return fmt.Errorf("%s: revision %d after %d", v.GetSessionId(), v.GetRevision(), last.GetRevision())
	}
	f.seen[v.GetSessionId()] = v
	return nil
}

// listEverything lists, over and over, the sessions of a person, of a status, and those in doubt. A list of a person must have
// each session that a watch of it has shown.
func (u *upgrade) listEverything() {
	rng := rand.New(rand.NewPCG(u.seed, 1))
	for n := 0; pauseFor(u.living, 200*time.Millisecond) == nil; n++ {
		u.mu.Lock()
		var p *person
		if len(u.people) > 0 {
			p = u.people[rng.IntN(len(u.people))]
		}
		u.mu.Unlock()
		switch {
		case n%3 == 0 && p != nil:
			known := p.known()
			if ids, err := u.list(client.ByReference(p.reference)); err == nil && !p.isRedacted() {
				for _, id := range known {
					if !slices.Contains(ids, id) {
						u.wrong("the list of %s has %v, and lacks %s, which a watch has shown", p.reference, ids, id)
					}
				}
			}
		case n%3 == 1:
			_, _ = u.list(client.ByStatus(verificationv1.Status(1 + rng.IntN(4))))
		default:
			_, _ = u.list(client.InDoubt())
		}
	}
}

// list returns the ids of a list. An error that is no interruption fails the test.
func (u *upgrade) list(filter client.Filter) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(u.watching, rig.Soon)
	defer cancel()
	for v, err := range u.reader.List(ctx, filter) {
		if err != nil {
			if !u.repeats("ListVerifications", err) && u.watching.Err() == nil {
				u.wrong("ListVerifications: %v", err)
			}
			return nil, err
		}
		ids = append(ids, v.GetSessionId())
	}
	u.calls.add("ListVerifications answered")
	return ids, nil
}

// known returns the person's sessions that watches have shown.
func (p *person) known() (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.shown {
		ids = append(ids, id)
	}
	return ids
}

// isRedacted returns whether a session of the person is redacted at Stripe, or is about to be.
func (p *person) isRedacted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.chain, func(id string) bool {
		session, _ := p.stripe.Session(id)
		return session.Redaction != ""
	})
}
