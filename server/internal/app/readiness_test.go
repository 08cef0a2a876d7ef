package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
)

// flaky is a Redis that is away between two moments, counted from its beginning.
type flaky struct {
	began    time.Time
	from, to time.Duration
	hangs    bool  // away: it takes connections and answers when it is back
	wrong    error // what Prepare says once it is back
}

func (f *flaky) Ping(ctx context.Context) error {
	if now := time.Since(f.began); now < f.from || now >= f.to {
		return nil
	}
	if f.hangs {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.to - time.Since(f.began)):
			return nil
		}
	}
	return errors.New("connection refused")
}

func (f *flaky) Prepare(ctx context.Context) error {
	if err := f.Ping(ctx); err != nil {
		return err
	}
	if time.Since(f.began) >= f.to {
		return f.wrong
	}
	return nil
}

// watchReadiness runs readiness for a virtual minute and returns when it changed.
func watchReadiness(t *testing.T, store *flaky) (changes []string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		store.began = time.Now()
		r := &readiness{store: store, logger: slog.New(slog.DiscardHandler), publish: func(ready bool) {
			changes = append(changes, fmt.Sprintf("%v %t", time.Since(store.began), ready))
		}}
		if err = r.prepare(ctx); err != nil {
			return
		}
		var running sync.WaitGroup
		running.Go(func() { err = r.run(ctx) })
		running.Wait()
	})
	return changes, err
}

// A blip of Redis shorter than three seconds takes no replica out of service; what lasts longer does,
// and it comes back within a second or two of Redis.
func TestReadinessDoesNotFlap(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		store flaky
		want  []string
	}{
		{"always there", flaky{}, []string{"0s true"}},
		{"a blip of a moment", flaky{from: 9990 * ms, to: 10010 * ms}, []string{"0s true"}},
		{"a blip of 2.9 s", flaky{from: 9500 * ms, to: 12400 * ms}, []string{"0s true"}},
		{"away for 3.1 s", flaky{from: 9950 * ms, to: 13050 * ms}, []string{"0s true", "13s false", "14s true"}},
		{"away for long", flaky{from: 9010 * ms, to: 29010 * ms}, []string{"0s true", "13s false", "30s true"}},
		{"a hang of 2.9 s", flaky{from: 9500 * ms, to: 12400 * ms, hangs: true}, []string{"0s true"}},
		{"a hang of 20 s", flaky{from: 9500 * ms, to: 29500 * ms, hangs: true}, []string{"0s true", "14s false", "29.5s true"}},
		{"away at the start", flaky{to: 4500 * ms}, []string{"5s true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes, err := watchReadiness(t, &test.store)
			if err != nil || !slices.Equal(changes, test.want) {
				t.Errorf("changes %v, %v; want %v", changes, err, test.want)
			}
		})
	}
}

// What comes back after an absence may be another server, which must not be used.
func TestReadinessEndsWithARedisThatMustNotBeUsed(t *testing.T) {
	wrong := fmt.Errorf("%w: it evicts", redisstore.ErrMisconfigured)
	changes, err := watchReadiness(t, &flaky{from: 5 * time.Second, to: 20 * time.Second, wrong: wrong})
	if !errors.Is(err, redisstore.ErrMisconfigured) || !slices.Equal(changes, []string{"0s true", "8s false"}) {
		t.Errorf("changes %v, %v", changes, err)
	}
}

// Once the process stops it stays unready, however well Redis is.
func TestReadinessStopsForGood(t *testing.T) {
	r := &readiness{store: &flaky{began: time.Now()}, logger: slog.New(slog.DiscardHandler), publish: func(bool) {}}
	if err := r.prepare(t.Context()); err != nil || !r.ready() {
		t.Fatalf("not ready: %v", err)
	}
	r.stop()
	if err := r.prepare(t.Context()); err != nil || r.ready() {
		t.Errorf("ready again: %v", err)
	}
}
