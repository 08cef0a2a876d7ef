package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// redisRig is the consumers of one replica over a real Redis.
type redisRig struct {
	*Consumers
	t     *testing.T
	ctx   context.Context
	store *redisstore.Store
	close func()
	made  int
}

func newRedisRig(t *testing.T, addr string) *redisRig {
	s, err := redisstore.Open(redisstore.Options{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	closing := sync.OnceFunc(func() { s.Close() })
	t.Cleanup(closing)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &redisRig{Consumers: New(Config{Store: s, Logger: slog.New(slog.DiscardHandler)}), t: t, ctx: ctx, store: s, close: closing}
}

// change makes a new session.
func (r *redisRig) change() {
	r.t.Helper()
	r.made++
	e := verification.Event{
		ID: fmt.Sprint("evt_", r.made), Type: verification.EventProcessing, Source: verification.SourceWebhook, Second: 1_790_000_000, RecordTime: 1_790_000_000_000,
		Object: verification.Object{ID: fmt.Sprint("vs_", r.made), Type: "document", Status: verification.StatusProcessing, Created: 1_790_000_000},
	}
	_, err := r.store.Update(r.ctx, e.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, e)
		return next, outcome.Write, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// after returns the entries after positions, by nonce, and the positions after them. It fails if the feed denies a position.
func (r *redisRig) after(positions []store.Position) (map[uint64]bool, []store.Position) {
	r.t.Helper()
	nonces, at := make(map[uint64]bool), slices.Clone(positions)
	for partition, position := range positions {
		entries, err := r.store.ReadFeed(r.ctx, partition, position, 1000)
		if err != nil {
			r.t.Fatalf("ReadFeed(%d, %+v): %v", partition, position, err)
		}
		for _, entry := range entries {
			nonces[entry.Position.Nonce] = true
			at[partition] = entry.Position
		}
	}
	return nonces, at
}

func (r *redisRig) acknowledge(positions []store.Position) error {
	return r.Acknowledge(r.ctx, "billing", "pay", func(uint64) ([]store.Position, error) { return positions, nil })
}

// TestG14_ALossOfWritesIsReportedOrHarmless: after a Redis has lost its newest writes, the next stream is refused, or still gets
// everything after what the consumer had acknowledged. The consumer can be lost with the feed, alone, or not with it, as on a Cluster.
func TestG14_ALossOfWritesIsReportedOrHarmless(t *testing.T) {
	server := redistest.Start(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	refused, harmless := 0, 0
	for round := range 12 {
		server.MustAsk("FLUSHALL")
		r := newRedisRig(t, server.Addr)
		handled := make(map[uint64]bool)
		var at []store.Position
		consume := func() { // handles some partitions and acknowledges them
			nonces, to := r.after(at)
			for partition := range to {
				if rng.IntN(2) == 0 {
					to[partition] = at[partition]
				}
			}
			left, _ := r.after(to)
			for nonce := range nonces {
				if !left[nonce] {
					handled[nonce] = true
				}
			}
			if err := r.acknowledge(to); err != nil {
				t.Fatal(err)
			}
			at = to
		}
		begin := func(request Request) (*Stream, error) { return r.Open(r.ctx, request) }
		must := Request{Name: "billing", Caller: "pay", MustExist: true}

		createdBefore := round%4 != 0
		var lose func()
		if !createdBefore {
			lose = server.Keep()
		}
		stream, err := begin(Request{Name: "billing", Caller: "pay"})
		if err != nil {
			t.Fatal(err)
		}
		at = stream.Positions()
		stream.Close()
		for range 20 {
			r.change()
		}
		consume()
		if createdBefore {
			lose = server.Keep()
		}
		for range 20 {
			r.change()
		}
		consume()
		kept := server.MustAsk("DUMP", "vs:consumers")
		lose()
		if round%4 == 2 { // the feed alone
			server.MustAsk("DEL", "vs:consumers")
			server.MustAsk("RESTORE", "vs:consumers", "0", kept)
		}
		for range 20 {
			r.change()
		}

		stream, err = begin(must)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, ErrExpired) {
				t.Fatalf("round %d: %v", round, err)
			}
			refused++
			continue
		}
		harmless++
		all, _ := r.after(make([]store.Position, r.store.Partitions()))
		next, _ := r.after(stream.Positions())
		for nonce := range all {
			if !next[nonce] && !handled[nonce] {
				t.Errorf("round %d: an entry was neither handled nor comes next", round)
			}
		}
		if err := r.acknowledge(at); err != nil && !errors.Is(err, store.ErrRewound) {
			t.Errorf("round %d: the token from before the loss: %v; want ErrRewound or nothing", round, err)
		}
		stream.Close()
	}
	if refused < 3 || harmless < 3 {
		t.Errorf("after %d losses the stream was refused, and %d were harmless; want some of both", refused, harmless)
	}
}

// TestG14_TakesOverOnRedis: with leases by the clock of Redis, another replica takes over from one that died within the length of a lease,
// and at once from one that closed its stream.
func TestG14_TakesOverOnRedis(t *testing.T) {
	server := redistest.Start(t)
	const lease = 300 * time.Millisecond
	open := func(name string) (*redisRig, *Stream) {
		r := newRedisRig(t, server.Addr)
		r.config.Lease = lease
		stream, err := r.Open(r.ctx, Request{Name: name, Caller: "pay"})
		if err != nil {
			t.Fatal(err)
		}
		return r, stream
	}
	dying, stream := open("billing")
	defer stream.Close()
	_, closing := open("audit")
	dying.close() // it renews no more
	died := time.Now()

	standby := newRedisRig(t, server.Addr)
	standby.config.Lease = lease
	closing.Close()
	second, err := standby.Open(standby.ctx, Request{Name: "audit", Caller: "pay", MustExist: true})
	if err != nil {
		t.Fatalf("after a Close: %v; want the lease at once", err)
	}
	second.Close()
	for {
		third, err := standby.Open(standby.ctx, Request{Name: "billing", Caller: "pay", MustExist: true})
		var busy *BusyError
		if errors.As(err, &busy) && busy.RetryAfter <= lease {
			select {
			case <-time.After(busy.RetryAfter):
			case <-standby.ctx.Done():
				t.Fatal("no stream took over within a minute")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("taken over %v after the death", time.Since(died).Round(time.Millisecond))
		third.Close()
		return
	}
}
