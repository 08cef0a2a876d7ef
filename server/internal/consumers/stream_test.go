package consumers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
)

// rig is the consumers of one replica over a fake store, in a bubble of virtual time.
type rig struct {
	*Consumers
	t     *testing.T
	store *fakeStore
}

func newRig(t *testing.T) *rig {
	s := newFakeStore()
	return &rig{Consumers: New(Config{Store: s, Logger: slog.New(slog.DiscardHandler)}), t: t, store: s}
}

// inBubble calls run with a rig in virtual time.
func inBubble(t *testing.T, run func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newRig(t)) })
}

func (r *rig) open(request Request) *Stream {
	r.t.Helper()
	stream, err := r.Open(r.t.Context(), request)
	if err != nil {
		r.t.Fatalf("Open(%+v): %v", request, err)
	}
	return stream
}

// refused opens a stream that must be refused with an error.
func (r *rig) refused(request Request, want error) {
	r.t.Helper()
	if _, err := r.Open(r.t.Context(), request); !errors.Is(err, want) {
		r.t.Errorf("Open(%+v): %v; want %v", request, err, want)
	}
}

// busy opens a stream that must be refused because another one is open, and returns for how long.
func (r *rig) busy(request Request) time.Duration {
	r.t.Helper()
	_, err := r.Open(r.t.Context(), request)
	var busy *BusyError
	if !errors.As(err, &busy) || busy.RetryAfter <= 0 || busy.RetryAfter > DefaultLease {
		r.t.Fatalf("Open(%+v): %v; want a BusyError of up to %v", request, err, DefaultLease)
	}
	return busy.RetryAfter
}

// acknowledge acknowledges positions.
func (r *rig) acknowledge(name, caller string, positions []store.Position) error {
	return r.Acknowledge(r.t.Context(), name, caller, func(uint64) ([]store.Position, error) { return positions, nil })
}

// heads returns the heads of the feed.
func (r *rig) heads() []store.Position {
	heads := make([]store.Position, fakePartitions)
	for partition := range heads {
		heads[partition], _ = r.store.Head(r.t.Context(), partition)
	}
	return heads
}

func (r *rig) wantStored(when string, want []store.Position) {
	r.t.Helper()
	if got := r.store.stored("billing"); !slices.Equal(got, want) {
		r.t.Errorf("%s: stored %+v; want %+v", when, got, want)
	}
}

func isLostNow(stream *Stream) bool {
	select {
	case <-stream.Lost():
		return true
	default:
		return false
	}
}

// anyPosition is Request.Own of a stream whose position is good.
func anyPosition(uint64) error { return nil }

var billing = Request{Name: "billing", Caller: "pay"}

// A stream that dies is replaced within 15 s, and one that is closed at once. An instance that stands by, and waits as long as the error says, is in time.
func TestG14_AnotherStreamTakesOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(billing)
		time.Sleep(time.Hour)
		left := r.busy(billing)
		time.Sleep(left / 3)
		died := time.Now()
		r.store.hang(first.id, true)
		time.Sleep(left - left/3)
		for {
			stream, err := r.Open(t.Context(), billing)
			var busy *BusyError
			if errors.As(err, &busy) {
				time.Sleep(busy.RetryAfter)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(died); took > DefaultLease {
				t.Errorf("the second stream began %v after the death of the first; want up to %v", took, DefaultLease)
			}
			stream.Close()
			break
		}
		third := r.open(billing) // at once
		r.store.hang(first.id, false)
		time.Sleep(DefaultLease / 3)
		synctest.Wait()
		var busy *BusyError
		if !isLostNow(first) || !errors.As(first.Err(), &busy) {
			t.Errorf("the first stream, back again: lost %v, error %v; want a BusyError", isLostNow(first), first.Err())
		}
		first.Close()
		if r.busy(billing); isLostNow(third) || third.Err() != nil {
			t.Errorf("the third stream is lost after the first was closed: %v", third.Err())
		}
		third.Close()
	})
}

// A store that is unavailable ends no stream, however long. If no other stream has taken the lease, the stream has it again.
func TestAnUnavailableStoreIsNoLoss(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		stream := r.open(billing)
		r.store.goAway(store.ErrUnavailable)
		time.Sleep(10 * time.Minute)
		if isLostNow(stream) {
			t.Fatalf("lost: %v", stream.Err())
		}
		r.store.goAway(nil)
		time.Sleep(DefaultLease / 5)
		r.busy(billing)
		r.store.goAway(store.ErrUnavailable)
		began := time.Now()
		stream.Close()
		if took := time.Since(began); took > 2*callTimeout {
			t.Errorf("Close took %v", took)
		}
	})
}

// A deletion ends the stream within 5 s, also if the name is taken again at once.
func TestG14_ADeletedConsumerEndsItsStream(t *testing.T) {
	for _, again := range []bool{false, true} {
		inBubble(t, func(t *testing.T, r *rig) {
			stream := r.open(billing)
			if err := r.Delete(t.Context(), "billing", "pay", false); err != nil {
				t.Fatal(err)
			}
			var second *Stream
			if again {
				second = r.open(billing)
			}
			if err := stream.PassOver(t.Context(), stream.Positions(), r.heads()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("again=%v: PassOver: %v; want ErrNotFound", again, err)
			}
			time.Sleep(DefaultLease/3 + time.Millisecond)
			synctest.Wait()
			if !isLostNow(stream) || !errors.Is(stream.Err(), store.ErrNotFound) {
				t.Errorf("again=%v: lost %v, error %v; want ErrNotFound", again, isLostNow(stream), stream.Err())
			}
			stream.Close()
			if second != nil {
				r.busy(billing) // the close of the first has not ended the lease of the second
				second.Close()
			}
		})
	}
}

// A consumer that must exist is not created, and a stream of one that was lost is refused.
func TestG14_ALostConsumerIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		must := Request{Name: "billing", Caller: "pay", MustExist: true}
		r.refused(must, store.ErrNotFound)
		restore := r.store.snapshot()
		stream := r.open(billing)
		stream.Close()
		r.open(must).Close()
		restore()
		r.refused(must, store.ErrNotFound)
		r.store.append(0)
		again := r.open(billing)
		if again.Incarnation() == stream.Incarnation() || !slices.Equal(again.Positions(), r.heads()) {
			t.Errorf("the new consumer has incarnation %d, as before, or begins at %v", again.Incarnation(), again.Positions())
		}
		again.Close()
	})
}

// If the answer to a request for the lease was lost, the lease is given back.
func TestALeaseIsNotKeptWithoutAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		r.store.losing = cancel
		if _, err := r.Open(ctx, billing); !errors.Is(err, context.Canceled) {
			t.Fatalf("Open: %v; want the error of the context", err)
		}
		r.store.losing = func() {}
		r.open(billing).Close()
	})
}

// What a filter excluded is acknowledged in the partitions in which all that was sent is acknowledged, by whatever token.
func TestPassOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		stream := r.open(billing)
		defer stream.Close()
		begin := stream.Positions()
		first, second := r.store.append(0).Position, r.store.append(0).Position
		other := r.store.append(1).Position
		pass := func(sent ...store.Position) {
			t.Helper()
			at := slices.Clone(begin)
			copy(at, sent)
			if err := stream.PassOver(t.Context(), at, r.heads()); err != nil {
				t.Fatal(err)
			}
		}
		pass(first)
		r.wantStored("with a change that is not acknowledged in the first partition", []store.Position{begin[0], other, begin[2]})
		if err := r.acknowledge("billing", "pay", []store.Position{first, begin[1], begin[2]}); err != nil {
			t.Fatal(err)
		}
		pass(first)
		r.wantStored("after its acknowledgement elsewhere", []store.Position{second, other, begin[2]})
		third := r.store.append(2).Position
		pass(first)
		r.wantStored("again", []store.Position{second, other, third})
		// A token of a heartbeat is after what was sent last.
		last := r.store.append(0).Position
		if err := r.acknowledge("billing", "pay", r.heads()); err != nil {
			t.Fatal(err)
		}
		r.store.append(0)
		pass(last)
		r.wantStored("after an acknowledgement of more than was sent", r.heads())
		at := r.heads()
		at[0].Nonce++
		if err := stream.PassOver(t.Context(), at, at); !errors.Is(err, store.ErrRewound) {
			t.Errorf("PassOver up to a lost entry: %v; want ErrRewound", err)
		}
	})
}

// A stream whose lease another stream has passes nothing over: the other stream can have other filters, and can have sent what this one
// would pass over.
func TestG14_AStreamWithoutTheLeasePassesNothingOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(billing)
		r.store.hang(first.id, true)
		time.Sleep(DefaultLease)
		second := r.open(billing)
		begin := first.Positions()
		r.store.append(0)
		r.store.hang(first.id, false)
		var busy *BusyError
		if err := first.PassOver(t.Context(), begin, r.heads()); !errors.As(err, &busy) {
			t.Errorf("PassOver: %v; want a BusyError", err)
		}
		r.wantStored("after the PassOver of the first stream", begin)
		second.Close()
		first.Close()
	})
}

// A stored position of a lost entry does not prove that what was sent after a loss is acknowledged, whether the entry was lost before the
// stream began, while it was open, or after it was acknowledged. Only a store that loses feed and consumers apart, such as a
// Cluster, has such positions.
func TestG14_APositionOfALostEntryProvesNothing(t *testing.T) {
	for _, lost := range []string{"before the stream", "after the acknowledgement", "after the stream began at it"} {
		inBubble(t, func(t *testing.T, r *rig) {
			stream := r.open(billing)
			var own, newest store.Position
			for n := range 10 {
				newest = r.store.append(0).Position
				if n == 4 {
					own = newest
				}
			}
			begin := stream.Positions()
			acknowledge := func(position store.Position) {
				t.Helper()
				if err := r.acknowledge("billing", "pay", []store.Position{position, begin[1], begin[2]}); err != nil {
					t.Fatal(err)
				}
			}
			stream.Close()
			request := Request{Name: "billing", Caller: "pay", Own: anyPosition} // at own
			switch lost {
			case "before the stream":
				acknowledge(newest)
				r.store.lose(0, 5)
				stream = r.open(request)
			case "after the acknowledgement":
				stream = r.open(request)
				acknowledge(newest)
				r.store.lose(0, 5)
			case "after the stream began at it":
				acknowledge(newest)
				stream = r.open(request)
				r.store.lose(0, 5)
			}
			sent := slices.Clone(begin)
			sent[0] = r.store.append(0).Position // sent, and not acknowledged
			for range 10 {
				r.store.append(0)
			}
			if sent[0].Seq != own.Seq+1 {
				t.Fatalf("%+v does not follow %+v", sent[0], own)
			}
			if err := stream.PassOver(t.Context(), sent, r.heads()); err != nil {
				t.Fatal(err)
			}
			r.wantStored(lost, []store.Position{newest, begin[1], begin[2]})
			acknowledge(sent[0])
			r.wantStored("after an acknowledgement", sent)
			if err := stream.PassOver(t.Context(), sent, r.heads()); err != nil {
				t.Fatal(err)
			}
			r.wantStored("after a PassOver", r.heads())
			stream.Close()
		})
	}
}

// TestG14_ALostStreamLeavesTheLease: a stream that has lost its lease does not take it again at its end, although no other stream is
// open by then.
func TestG14_ALostStreamLeavesTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(billing)
		r.store.hang(first.id, true)
		time.Sleep(DefaultLease + time.Second)
		second := r.open(billing)
		r.store.hang(first.id, false)
		time.Sleep(DefaultLease / 3)
		synctest.Wait()
		if !isLostNow(first) {
			t.Fatal("the first stream is not lost, although the second one has the lease")
		}
		second.Close()
		begun := first.Positions()
		r.store.append(0)
		var busy *BusyError
		if err := first.PassOver(t.Context(), begun, r.heads()); !errors.As(err, &busy) {
			t.Errorf("PassOver of the lost stream: %v; want a BusyError", err)
		}
		r.wantStored("after the lost stream", begun)
		third := r.open(billing)
		first.Close()
		r.busy(billing) // the end of the first stream has not ended the lease of the third
		third.Close()
	})
}

// Close gives back a lease that the last PassOver took again after it had ended.
func TestCloseReleasesAfterPassOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		stream := r.open(billing)
		begun := stream.Positions()
		r.store.append(0)
		r.store.hang(stream.id, true)
		time.Sleep(DefaultLease + time.Second)
		r.store.hang(stream.id, false)
		if err := stream.PassOver(t.Context(), begun, r.heads()); err != nil {
			t.Fatal(err)
		}
		stream.Close()
		r.open(billing).Close()
	})
}
