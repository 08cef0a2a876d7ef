package rpc

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// fakeConsumers is a fakeStore that stores consumers too. Its leases run by the time of the test's bubble.
type fakeConsumers struct {
	*fakeStore
	incarnations uint64
	stored       map[string]*fakeConsumer
	moves        int           // calls of MoveConsumer
	lists        int           // calls of ListConsumers
	takes        time.Duration // how long each of these takes
}

type fakeConsumer struct {
	store.Consumer
	stream string
	until  time.Time
}

func (s *fakeConsumers) find(name string, incarnation uint64) (*fakeConsumer, error) {
	c := s.stored[name]
	if c == nil || incarnation != 0 && c.Incarnation != incarnation {
		return nil, store.ErrNotFound
	}
	return c, nil
}

func (c *fakeConsumer) read() store.Consumer {
	shown := c.Consumer
	shown.Positions = slices.Clone(c.Positions)
	shown.Active = time.Now().Before(c.until)
	return shown
}

func (s *fakeConsumers) ListConsumers(context.Context) (all []store.Consumer, err error) {
	time.Sleep(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	for _, c := range s.stored {
		all = append(all, c.read())
	}
	slices.SortFunc(all, func(a, b store.Consumer) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func (s *fakeConsumers) Consumer(_ context.Context, name string) (store.Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(name, 0)
	if err != nil {
		return store.Consumer{}, err
	}
	return c.read(), nil
}

func (s *fakeConsumers) CreateConsumer(_ context.Context, fresh store.Consumer, _ int) (store.Consumer, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, err := s.find(fresh.Name, 0); err == nil {
		return c.read(), false, nil
	}
	s.incarnations++
	fresh.Incarnation = s.incarnations
	s.stored[fresh.Name] = &fakeConsumer{Consumer: fresh}
	return s.stored[fresh.Name].read(), true, nil
}

func (s *fakeConsumers) LeaseConsumer(_ context.Context, name string, incarnation uint64, stream, holder string, duration time.Duration) (bool, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(name, incarnation)
	if err != nil {
		return false, 0, err
	}
	if now := time.Now(); now.Before(c.until) && c.stream != stream {
		return false, c.until.Sub(now), nil
	}
	c.stream, c.Holder, c.until = stream, holder, time.Now().Add(duration)
	return true, duration, nil
}

func (s *fakeConsumers) ReleaseConsumer(_ context.Context, name string, incarnation uint64, stream string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, err := s.find(name, incarnation); err == nil && c.stream == stream {
		c.until = time.Time{}
	}
	return nil
}

func (s *fakeConsumers) MoveConsumer(_ context.Context, name string, incarnation uint64, from, to []store.Position) (store.Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves++
	c, err := s.find(name, incarnation)
	if err != nil {
		return store.Consumer{}, err
	}
	for partition, position := range c.Positions {
		if position == from[partition] {
			c.Positions[partition] = to[partition]
		}
	}
	return c.read(), nil
}

func (s *fakeConsumers) DeleteConsumer(_ context.Context, name string, incarnation uint64, _ []store.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find(name, incarnation); err == nil {
		delete(s.stored, name)
	}
	return nil
}

func (s *fakeConsumers) Behind(_ context.Context, positions []store.Position) ([]store.Behind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	behind := make([]store.Behind, len(positions))
	for partition, position := range positions {
		behind[partition].Entries = int64(len(s.after(partition, position)))
	}
	return behind, nil
}

func (s *fakeConsumers) Check(_ context.Context, positions []store.Position) ([]error, error) {
	return make([]error, len(positions)), nil
}

// pending returns how many entries a consumer has not acknowledged.
func (s *fakeConsumers) pending(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for partition, position := range s.stored[name].Positions {
		n += len(s.after(partition, position))
	}
	return n
}

// severed is a store that a replica cannot reach any more once it is cut: as if the replica were killed.
type severed struct {
	*fakeConsumers
	cut atomic.Bool
}

func (s *severed) LeaseConsumer(ctx context.Context, name string, incarnation uint64, stream, holder string, duration time.Duration) (bool, time.Duration, error) {
	if s.cut.Load() {
		return false, 0, store.ErrUnavailable
	}
	return s.fakeConsumers.LeaseConsumer(ctx, name, incarnation, stream, holder, duration)
}

func (s *severed) ReleaseConsumer(ctx context.Context, name string, incarnation uint64, stream string) error {
	if s.cut.Load() {
		return store.ErrUnavailable
	}
	return s.fakeConsumers.ReleaseConsumer(ctx, name, incarnation, stream)
}

func (s *severed) MoveConsumer(ctx context.Context, name string, incarnation uint64, from, to []store.Position) (store.Consumer, error) {
	if s.cut.Load() {
		return store.Consumer{}, store.ErrUnavailable
	}
	return s.fakeConsumers.MoveConsumer(ctx, name, incarnation, from, to)
}

// consumerRig is two replicas on one store, in a bubble of synctest.
type consumerRig struct {
	*fakeConsumers
	t        *testing.T
	hub      *hub.Hub
	services [2]*Service
	links    [2]*severed
}

func newConsumerRig(t *testing.T) *consumerRig {
	s := &fakeConsumers{
		fakeStore: &fakeStore{held: map[string]verification.Session{}, newest: map[string]string{}}, stored: map[string]*fakeConsumer{},
	}
	rig := &consumerRig{fakeConsumers: s, t: t, hub: hub.New()}
	logger := slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))
	for n := range rig.services {
		rig.links[n] = &severed{fakeConsumers: s}
		rig.services[n] = New(Config{
			Live: uncached{s, rig.hub, 0}, Ingest: emptyIngest{}, Clock: time.Now, Logger: logger,
			Consumers: consumers.New(consumers.Config{Store: rig.links[n], Logger: logger}),
		})
	}
	return rig
}

// change makes a change of a session, and wakes the watches.
func (rig *consumerRig) change(session verification.Session) {
	rig.put(session)
	rig.hub.WakeAll()
	synctest.Wait()
}

// open opens a watch on one of the replicas.
func (rig *consumerRig) open(replica int, request *verificationv1.WatchStatusRequest) *watching {
	w := &watching{fakeStore: rig.fakeStore, t: rig.t, hub: rig.hub, service: rig.services[replica], ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.sink = cancel, &sink{ctx: ctx, got: make(chan arrival, 10_000)}
	rig.t.Cleanup(cancel)
	w.start(request)
	return w
}

// acknowledge acknowledges a token at the second replica.
func (rig *consumerRig) acknowledge(token string) {
	rig.t.Helper()
	request := &verificationv1.AcknowledgeChangesRequest{Consumer: mailer, ResumeToken: token}
	if _, err := rig.services[1].AcknowledgeChanges(rig.t.Context(), request); err != nil {
		rig.t.Fatal(err)
	}
}

// edited returns the session after a change that brought no outcome.
func edited(session verification.Session) verification.Session {
	return changedTo(session, session.Report, fmt.Sprint("person ", session.Revision+1))
}

// failedAgain returns the session after a further failure.
func failedAgain(session verification.Session) verification.Session {
	return changedTo(session, fmt.Sprint("vr_", session.Revision+1), session.Reference)
}

func changedTo(session verification.Session, report, reference string) verification.Session {
	o := verification.Object{ID: session.ID, Type: "document", Status: session.Status, Error: session.Error, Report: report, Reference: reference}
	changed, _ := verification.Transition(session, verification.Event{
		ID: fmt.Sprint("evt_", session.ID, session.Revision+1), Type: eventTypes[session.Status], Source: verification.SourceWebhook,
		Second: session.UpdateTime + 1, Object: o,
	})
	return changed
}
