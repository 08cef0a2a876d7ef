package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
)

// A consumer is for the caller that created it. One that was created without a name is for all.
func TestOwners(t *testing.T) {
	for _, test := range []struct {
		owner, caller string
		allowed       bool
	}{
		{"pay", "pay", true}, {"pay", "other", false}, {"pay", "", false}, {"", "", true}, {"", "pay", true},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.open(Request{Name: "billing", Caller: test.owner}).Close()
			refusal := ErrNotOwner
			if test.allowed {
				refusal = nil
			}
			stream, err := r.Open(t.Context(), Request{Name: "billing", Caller: test.caller})
			if !errors.Is(err, refusal) {
				t.Errorf("owner %q: Open by %q: %v; want %v", test.owner, test.caller, err, refusal)
			}
			if stream != nil {
				states, _ := r.List(t.Context())
				if !states[0].Active || states[0].Holder != test.caller {
					t.Errorf("owner %q: active %v, holder %q; want %q", test.owner, states[0].Active, states[0].Holder, test.caller)
				}
				stream.Close()
			}
			if err := r.acknowledge("billing", test.caller, r.heads()); !errors.Is(err, refusal) {
				t.Errorf("owner %q: Acknowledge by %q: %v; want %v", test.owner, test.caller, err, refusal)
			}
			if err := r.Delete(t.Context(), "billing", test.caller, false); !errors.Is(err, refusal) {
				t.Errorf("owner %q: Delete by %q: %v; want %v", test.owner, test.caller, err, refusal)
			}
			if err := r.Delete(t.Context(), "billing", test.caller, true); err != nil || r.store.stored("billing") != nil {
				t.Errorf("owner %q: Delete by %q with override: %v", test.owner, test.caller, err)
			}
			if err := r.Delete(t.Context(), "billing", test.caller, false); err != nil {
				t.Errorf("Delete of a consumer that does not exist: %v", err)
			}
		})
	}
}

// A stream does not begin where changes are gone. It can begin at a position of its own, and an open stream continues. While one is
// open, another one stands by.
func TestG14_AnExpiredConsumer(t *testing.T) {
	for _, what := range []string{"trimmed", "rewound"} {
		inBubble(t, func(t *testing.T, r *rig) {
			stream := r.open(billing)
			if what == "rewound" {
				if r.store.append(0); r.acknowledge("billing", "pay", r.heads()) != nil {
					t.Fatal("the only entry was not acknowledged")
				}
				r.store.lose(0, 1)
			}
			for range 3 {
				r.store.append(0)
			}
			if what == "trimmed" {
				r.store.trim(0, 2)
			}
			time.Sleep(time.Hour)
			r.busy(billing)
			if isLostNow(stream) {
				t.Errorf("%s: the stream is lost: %v", what, stream.Err())
			}
			stream.Close()
			r.refused(billing, ErrExpired)
			r.refused(billing, ErrExpired) // the refused one has not kept the lease
			own := billing
			own.Own = anyPosition
			stream = r.open(own)
			if states, err := r.List(t.Context()); err != nil || !states[0].Expired {
				t.Errorf("%s: List = %+v, %v; want it expired", what, states, err)
			}
			if err := r.acknowledge("billing", "pay", r.heads()); err != nil {
				t.Fatal(err)
			}
			if states, err := r.List(t.Context()); err != nil || states[0].Expired {
				t.Errorf("%s: List after an acknowledgement = %+v, %v; want it healed", what, states, err)
			}
			stream.Close()
			r.open(billing).Close()
		})
	}
}

// Without room for a new consumer the expired one without a stream is deleted that acknowledged nothing for longest. If there is none,
// the new one is refused.
func TestRoomForANewConsumer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		name := func(n int) string { return fmt.Sprintf("consumer-%02d", n) }
		for n := range store.MaxConsumers {
			r.open(Request{Name: name(n)}).Close()
		}
		r.refused(billing, store.ErrTooManyConsumers)
		r.open(Request{Name: name(0)}).Close() // one that exists needs no room

		// The first four expire. The third acknowledges before the others, and the first two have a stream or acknowledge last.
		begin := r.heads()
		first := r.store.append(0).Position
		for _, n := range []int{2, 3, 1} {
			time.Sleep(time.Second)
			if err := r.acknowledge(name(n), "", []store.Position{first, begin[1], begin[2]}); err != nil {
				t.Fatal(err)
			}
		}
		open := r.open(Request{Name: name(0)})
		r.store.append(0)
		r.store.append(0)
		for n := 4; n < store.MaxConsumers; n++ {
			if err := r.acknowledge(name(n), "", r.heads()); err != nil {
				t.Fatal(err)
			}
		}
		r.store.trim(0, 2)
		for i, gone := range []string{name(2), name(3), name(1)} {
			r.open(Request{Name: fmt.Sprint("new-", i), Caller: "pay"}).Close()
			if r.store.stored(gone) != nil {
				t.Errorf("after %d new ones %s is still there", i+1, gone)
			}
		}
		r.refused(billing, store.ErrTooManyConsumers)
		if r.store.stored(name(0)) == nil {
			t.Error("the expired consumer with a stream was deleted")
		}
		open.Close()
	})
}

// TestAConsumerInUseMakesNoRoom: a consumer that acknowledges or opens a stream after it was judged expired is not deleted.
func TestAConsumerInUseMakesNoRoom(t *testing.T) {
	for _, what := range []string{"acknowledges", "opens a stream"} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.open(Request{Name: "billing", Caller: "pay"}).Close()
			r.store.append(0)
			r.store.append(0)
			r.store.trim(0, 1)
			for n := range store.MaxConsumers - 1 {
				r.open(Request{Name: fmt.Sprint("x", n)}).Close()
			}
			r.store.deleting = func() {
				r.store.deleting = func() {}
				if what == "acknowledges" {
					if err := r.acknowledge("billing", "pay", r.heads()); err != nil {
						t.Error(err)
					}
					return
				}
				own := billing
				own.Own = anyPosition
				stream := r.open(own)
				t.Cleanup(stream.Close)
			}
			r.refused(Request{Name: "new"}, store.ErrTooManyConsumers)
			if r.store.stored("billing") == nil {
				t.Errorf("a consumer that %s was deleted", what)
			}
		})
	}
}

// Positions of a stream are what was acknowledged when the lease was taken, not what was read before.
func TestAStreamBeginsAtWhatWasAcknowledgedLast(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(billing).Close()
		r.store.append(0)
		r.store.losing = func() { // after the lease was taken
			r.store.losing = func() {}
			if err := r.acknowledge("billing", "pay", r.heads()); err != nil {
				t.Error(err)
			}
		}
		stream := r.open(billing)
		defer stream.Close()
		if got := stream.Positions(); !slices.Equal(got, r.heads()) {
			t.Errorf("the stream begins at %+v; want %+v", got, r.heads())
		}
	})
}

// TestG15_OneCallerDoesNotTakeAllConsumers: a named caller creates no more than its share. Others still create theirs, and its own
// still open. Callers without names have no share.
func TestG15_OneCallerDoesNotTakeAllConsumers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.config.Share = 16
		name := func(n int) Request { return Request{Name: fmt.Sprint("x", n), Caller: "hog"} }
		for n := range 16 {
			r.open(name(n)).Close()
		}
		for n := 16; n < store.MaxConsumers; n++ {
			r.refused(name(n), store.ErrConsumerShare)
		}
		r.open(billing).Close()
		r.open(name(0)).Close()
		if err := r.Delete(t.Context(), "x0", "hog", false); err != nil {
			t.Fatal(err)
		}
		r.open(name(16)).Close()
		for n := range 20 {
			r.open(Request{Name: fmt.Sprint("unnamed-", n)}).Close()
		}
	})
}

// lateReplicas is a store whose first creations are written, but not confirmed by replicas.
type lateReplicas struct {
	*fakeStore
	late int
}

func (s *lateReplicas) CreateConsumer(ctx context.Context, fresh store.Consumer, share int) (store.Consumer, bool, error) {
	stored, created, err := s.fakeStore.CreateConsumer(ctx, fresh, share)
	if s.late--; err == nil && s.late >= 0 {
		return stored, false, fmt.Errorf("%w: too few replicas", store.ErrUnavailable)
	}
	return stored, created, err
}

// TestG14_ARetriedCreationWaitsAgain: no stream begins before the replicas have its consumer, also if an earlier call has written it.
func TestG14_ARetriedCreationWaitsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		late := &lateReplicas{fakeStore: r.store, late: 2}
		r.config.Store = late
		r.refused(billing, store.ErrUnavailable)
		r.store.append(0)
		r.refused(billing, store.ErrUnavailable)
		r.refused(Request{Name: "billing", Caller: "other"}, ErrNotOwner)
		stream := r.open(billing)
		if err := r.acknowledge("billing", "pay", r.heads()); err != nil {
			t.Fatal(err)
		}
		stream.Close()
		late.late = 1
		r.open(billing).Close() // what has acknowledged was confirmed
	})
}

// countingStore counts the calls that a look at all consumers and a creation are made of.
type countingStore struct {
	*fakeStore
	behind, heads int
}

func (s *countingStore) Behind(ctx context.Context, positions []store.Position) ([]store.Behind, error) {
	s.behind++
	return s.fakeStore.Behind(ctx, positions)
}

func (s *countingStore) Head(ctx context.Context, partition int) (store.Position, error) {
	s.heads++
	return s.fakeStore.Head(ctx, partition)
}

// TestG15_ARefusedConsumerCostsLittle: a new name without room reads no heads, and many of them read the states of all consumers once in
// Config.Keep. So do lists.
func TestG15_ARefusedConsumerCostsLittle(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for n := range store.MaxConsumers {
			r.open(Request{Name: fmt.Sprint("x", n), Caller: "hog"}).Close()
		}
		counting := &countingStore{fakeStore: r.store}
		r.config.Store, r.config.Keep = counting, time.Second
		want := func(what string, behind int) {
			t.Helper()
			if counting.behind != behind || counting.heads != 0 {
				t.Errorf("%s cost %d reads of a state and %d of a head; want %d and 0", what, counting.behind, counting.heads, behind)
			}
			counting.behind, counting.heads = 0, 0
		}
		for range 100 {
			r.refused(billing, store.ErrTooManyConsumers)
			if _, err := r.List(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want("100 refusals and lists", store.MaxConsumers)
		time.Sleep(time.Second)
		r.refused(billing, store.ErrTooManyConsumers)
		want("a refusal after Keep", store.MaxConsumers)
		began := time.Now()
		for range 10 {
			r.open(Request{Name: "x1", Caller: "hog", MustExist: true}).Close()
			if states, err := r.List(t.Context()); err != nil || states[1].Active {
				t.Fatalf("List after a Close = %+v, %v; want no stream", states[1], err)
			}
		}
		want("10 lists after 10 streams", 10*store.MaxConsumers)
		if took := time.Since(began); took != 10*r.config.Keep/4 {
			t.Errorf("10 reads took %v; want one in Keep/4", took)
		}
		r.config.Share = 16
		time.Sleep(time.Second)
		r.refused(Request{Name: "more", Caller: "hog"}, store.ErrConsumerShare)
		want("a refusal above the share", 0)
	})
}
