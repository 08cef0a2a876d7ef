package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	sessionID = "vs_1"
	base      = int64(946_684_000) // Stripe's clock when the tests begin: some minutes before that of synctest
)

// records is as much of a store as ingest uses, in memory, with faults at exact moments. The
// embedded interface is nil: whatever else is called panics.
type records struct {
	store.Store

	mu      sync.Mutex
	held    map[string]verification.Session
	fail    error            // of Get and Update, as long as it is set
	refuse  map[string]error // the same for some sessions
	updates int
	// raced, if set, runs once inside an Update, between the read and the commit, as another writer
	// would; it must not call the store.
	raced func(held map[string]verification.Session)
}

func (r *records) Get(ctx context.Context, id string) (verification.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	session, ok := r.held[id]
	switch {
	case ctx.Err() != nil:
		return session, ctx.Err()
	case r.fail != nil:
		return session, r.fail
	case r.refuse[id] != nil:
		return session, r.refuse[id]
	case !ok:
		return session, store.ErrNotFound
	}
	return session, nil
}

func (r *records) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return verification.Session{}, ctx.Err()
	}
	if r.fail != nil {
		return verification.Session{}, r.fail
	}
	r.updates++
	if raced := r.raced; raced != nil {
		r.raced = nil
		if _, _, err := fn(r.held[id]); err != nil {
			return verification.Session{}, err
		}
		raced(r.held)
	}
	next, write, err := fn(r.held[id])
	if err != nil || !write {
		return r.held[id], err
	}
	if r.held == nil {
		r.held = make(map[string]verification.Session)
	}
	r.held[id] = next
	return next, nil
}

func (r *records) session(t *testing.T) verification.Session {
	t.Helper()
	session, err := r.Get(t.Context(), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// stripe answers as a test says, and counts.
type stripe struct {
	mu       sync.Mutex
	gets     int
	purposes []verification.Purpose // of the GETs, also of events
	finds    int
	retrieve func(ctx context.Context, n int) (verification.Retrieved, error) // n: 1 for the first GET
	find     func(ctx context.Context, reference string) (verification.Retrieved, error)
	events   map[string]verification.Event // by id: what Event answers
	eventErr error                         // what Event answers instead
	listed   []string                      // the ids for which Event was called
	silent   bool                          // Event gives no answer before its context ends
}

func (s *stripe) Event(ctx context.Context, purpose verification.Purpose, _, _, id string) (verification.Event, error) {
	if s.silent {
		<-ctx.Done()
		return verification.Event{}, verification.ErrStripeUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = append(s.listed, id)
	s.purposes = append(s.purposes, purpose)
	event, ok := s.events[id]
	switch {
	case s.eventErr != nil:
		return event, s.eventErr
	case !ok:
		return event, verification.ErrStripeUnknown
	}
	return event, nil
}

func (s *stripe) Read(ctx context.Context, purpose verification.Purpose, _, id string) (verification.Retrieved, error) {
	s.mu.Lock()
	s.gets++
	s.purposes = append(s.purposes, purpose)
	n := s.gets
	s.mu.Unlock()
	read, err := s.retrieve(ctx, n)
	read.Object.ID = id
	return read, err
}

func (s *stripe) FindByReference(ctx context.Context, reference string) (verification.Retrieved, error) {
	s.mu.Lock()
	s.finds++
	s.mu.Unlock()
	return s.find(ctx, reference)
}

func (s *stripe) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets
}

// says makes a Stripe that always shows the same.
func says(object verification.Object, asOf int64) *stripe {
	return &stripe{retrieve: func(context.Context, int) (verification.Retrieved, error) {
		return verification.Retrieved{Object: object, AsOf: asOf}, nil
	}}
}

func fails(err error) *stripe {
	return &stripe{retrieve: func(context.Context, int) (verification.Retrieved, error) {
		return verification.Retrieved{}, err
	}}
}

func newIngest(t *testing.T, s store.Store, asked Stripe) *Ingest {
	t.Helper()
	i := New(Config{Store: s, Stripe: asked, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(i.Close)
	return i
}

var (
	open      = verification.Object{ID: sessionID, Type: "document", Status: verification.StatusRequiresInput}
	checking  = verification.Object{ID: sessionID, Type: "document", Status: verification.StatusProcessing}
	passed    = verification.Object{ID: sessionID, Type: "document", Status: verification.StatusVerified, Report: "vr_2"}
	failed    = verification.Object{ID: sessionID, Type: "document", Status: verification.StatusRequiresInput, Report: "vr_1", Error: verification.Error{Code: "document_expired", Reason: "It has expired."}}
	failed2nd = verification.Object{ID: sessionID, Type: "document", Status: verification.StatusRequiresInput, Report: "vr_3", Error: verification.Error{Code: "selfie_face_mismatch", Reason: "Another face."}}
)

func event(n int, second int64, object verification.Object) verification.Event {
	return verification.Event{
		ID: fmt.Sprintf("evt_%d", n), Type: verification.EventRequiresInput, Source: verification.SourceWebhook,
		Second: base + second, Object: object,
	}
}

// apply commits an event and says what became of it.
func apply(t *testing.T, i *Ingest, e verification.Event) verification.Outcome {
	t.Helper()
	outcome, err := i.Apply(t.Context(), e)
	if err != nil {
		t.Fatalf("%s: %v", e.ID, err)
	}
	return outcome
}
