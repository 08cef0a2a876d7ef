package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// crashing is a process that makes a number of calls (reads and commits of the store, calls of
// Stripe) and then none.
type crashing struct{ left atomic.Int64 }

func (m *crashing) do() error {
	if m.left.Add(-1) < 0 {
		return fmt.Errorf("%w: the process is dead", store.ErrUnavailable)
	}
	return nil
}

func (m *crashing) died() bool { return m.left.Load() < 0 }

type crashingStore struct {
	store.Store
	*crashing
}

func (s crashingStore) Get(ctx context.Context, id string) (verification.Session, error) {
	if err := s.do(); err != nil {
		return verification.Session{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s crashingStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if err := s.do(); err != nil {
		return verification.Session{}, err
	}
	return s.Store.Update(ctx, id, fn)
}

type crashingStripe struct {
	stripeAPI
	*crashing
}

func (s crashingStripe) Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error) {
	if err := s.do(); err != nil {
		return verification.Retrieved{}, err
	}
	return s.stripeAPI.Retrieve(ctx, account, id)
}

func (s crashingStripe) CreateLike(ctx context.Context, account, id, returnURL string) (string, error) {
	if err := s.do(); err != nil {
		return "", err
	}
	return s.stripeAPI.CreateLike(ctx, account, id, returnURL)
}

// crashing returns a replica beside this one that makes life calls and then none. closed waits for calls under way.
func (r *replica) crashing(stripe stripeAPI, life int) (service *Service, process *crashing, closed func()) {
	process = &crashing{}
	process.left.Store(int64(life))
	kept, api := crashingStore{r.store, process}, crashingStripe{stripe, process}
	config := r.service.config
	config.Live, config.Stripe = uncached{kept, r.hub, 0}, api
	into := ingest.New(ingest.Config{Store: kept, Stripe: api, Clock: config.Clock, Logger: config.Logger})
	config.Ingest = into
	return newUnpaced(config), process, into.Close
}

// webhook brings what Stripe says of a session now, as an event of this number.
func (r *replica) webhook(stripe *fakeStripe, id string, n int) {
	r.t.Helper()
	r.apply(stripe.eventNow(id, n))
}

func (f *fakeStripe) eventNow(id string, n int) verification.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := eventOf(n, int64(n)*2_000_000, f.sessions[id])
	if n == 0 {
		e.Type, e.Second = verification.EventCreated, e.Object.Created
	}
	return e
}

// successors are the sessions that Stripe has made.
func (f *fakeStripe) successors() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.made...)
}

// grants counts the grants that are noted for these sessions, less those that were taken back.
func (r *replica) grants(ids ...string) int {
	r.t.Helper()
	count := 0
	for _, id := range ids {
		s, err := r.store.Get(r.t.Context(), id)
		if err != nil {
			continue
		}
		before := s.Inherited.RetriesGranted
		count += int(s.RetriesGranted - before)
	}
	return count
}

// checkHeir fails unless a session has exactly the counts of the one that it replaced and its own.
func checkHeir(t *testing.T, old, heir verification.Session) {
	t.Helper()
	if old.SupersededBy != heir.ID || heir.Predecessor != old.ID {
		t.Errorf("%s is superseded by %q, and %s has the predecessor %q", old.ID, old.SupersededBy, heir.ID, heir.Predecessor)
	}
	own := int32(len(heir.Failures))
	granted := int32(0)
	for _, entry := range heir.History {
		if entry.Source == verification.SourceRetry {
			granted++
		}
	}
	if heir.Inherited.RetriesGranted != old.RetriesGranted || heir.Inherited.FailedAttempts > old.FailedAttempts {
		t.Errorf("%s inherited %+v of %d failed and %d granted", heir.ID, heir.Inherited, old.FailedAttempts, old.RetriesGranted)
	}
	if heir.FailedAttempts != heir.Inherited.FailedAttempts+own || heir.RetriesGranted != heir.Inherited.RetriesGranted+granted {
		t.Errorf("%s: %d failed, %d granted; inherited %+v, its own are %d and %d", heir.ID, heir.FailedAttempts, heir.RetriesGranted, heir.Inherited, own, granted)
	}
}
