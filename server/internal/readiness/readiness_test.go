package readiness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
)

// flaky is a Redis that cannot be reached between two times after its start, and refuses between two others.
type flaky struct {
	began     time.Time
	from, to  time.Duration
	hangs     bool          // while it cannot be reached, it accepts connections, and answers later
	slow      time.Duration // the duration of a check
	wrongFrom time.Duration
	wrongTo   time.Duration
	wrong     error
	refuses   bool // while it refuses, open connections fail too, and Suspect is true
}

func (f *flaky) isWrong() bool {
	now := time.Since(f.began)
	return f.wrong != nil && f.wrongFrom <= now && now < f.wrongTo
}

func (f *flaky) Ping(ctx context.Context) error {
	if f.isWrong() && f.refuses {
		return f.wrong
	}
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
	if f.isWrong() {
		return f.wrong
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.slow):
	}
	return f.Ping(ctx)
}

func (f *flaky) Suspect() bool { return f.isWrong() && f.refuses }

// record is what a Monitor has done in virtual time.
type record struct {
	changes, reasons []string
	log              bytes.Buffer
	err              error // of the start
}

// watchReadiness runs a Monitor for a virtual time.
func watchReadiness(t *testing.T, store *flaky, within time.Duration) *record {
	t.Helper()
	l := &record{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		store.began = time.Now()
		m := New(Config{
			Store: store, Logger: slog.New(slog.NewTextHandler(&l.log, nil)),
			Publish: func(ready bool) { l.changes = append(l.changes, fmt.Sprintf("%v %t", time.Since(store.began), ready)) },
			Refused: func(reason string) {
				l.reasons = append(l.reasons, fmt.Sprintf("%v %q", time.Since(store.began), reason))
			},
		})
		if l.err = m.Begin(ctx); l.err != nil {
			return
		}
		var running sync.WaitGroup
		running.Go(func() { m.Run(ctx) })
		running.Wait()
	})
	return l
}

// An outage of Redis shorter than three seconds takes no replica out of service. A longer one does, and the replica is ready within two
// seconds after Redis is back.
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
		{"so slow that a check takes 3 s", flaky{from: 9950 * ms, to: 13050 * ms, slow: 3 * time.Second}, []string{"6s true", "13s false", "17s true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := watchReadiness(t, &test.store, time.Minute)
			if got.err != nil || !slices.Equal(got.changes, test.want) || len(got.reasons) != 0 {
				t.Errorf("changes %v, reasons %v, %v; want %v", got.changes, got.reasons, got.err, test.want)
			}
		})
	}
}

// TestG17_WhatGoesWrongInRedisIsWaitedFor: the process is not ready, logs it at once and once a minute, and is ready within two seconds
// after the correction.
func TestG17_WhatGoesWrongInRedisIsWaitedFor(t *testing.T) {
	const second = time.Second
	evicts := &redisstore.RefusedError{Reason: redisstore.ReasonEviction, Text: "it evicts"}
	password := &redisstore.RefusedError{Reason: redisstore.ReasonPassword, Text: "WRONGPASS"}
	topology := &redisstore.RefusedError{Reason: redisstore.ReasonTopology, Text: "no address"}
	for _, test := range []struct {
		name             string
		store            flaky
		changes, reasons []string
		errors           int // lines of the log
	}{
		{"a policy that changes", flaky{wrong: evicts, wrongFrom: 12 * second, wrongTo: 40 * second},
			[]string{"0s true", "20s false", "40s true"}, []string{`20s "eviction"`, `40s ""`}, 1},
		{"a policy that stays for three minutes", flaky{wrong: evicts, wrongFrom: 12 * second, wrongTo: 192 * second},
			[]string{"0s true", "20s false", "3m12s true"}, []string{`20s "eviction"`, `3m12s ""`}, 3},
		{"what comes back is another server", flaky{from: 5 * second, to: 20 * second, wrong: evicts, wrongFrom: 20 * second, wrongTo: 30 * second},
			[]string{"0s true", "8s false", "30s true"}, []string{`20s "eviction"`, `30s ""`}, 1},
		{"a password that is refused to open connections", flaky{wrong: password, refuses: true, wrongFrom: 11500 * time.Millisecond, wrongTo: 15500 * time.Millisecond},
			[]string{"0s true", "12s false", "16s true"}, []string{`12s "password"`, `16s ""`}, 1},
		{"a password that is refused to new connections alone", flaky{wrong: password, wrongFrom: 12 * second, wrongTo: 25500 * time.Millisecond},
			[]string{"0s true"}, []string{`20s "password"`, `26s ""`}, 1},
		{"a first contact with a wrong password", flaky{to: 3 * second, wrong: password, refuses: true, wrongFrom: 3 * second, wrongTo: 10 * second},
			[]string{"10s true"}, []string{`3s "password"`, `10s ""`}, 1},
		{"a topology that cannot be read at the start", flaky{wrong: topology, refuses: true, wrongTo: 10 * second},
			[]string{"10s true"}, []string{`0s "topology"`, `10s ""`}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := watchReadiness(t, &test.store, 4*time.Minute)
			if got.err != nil {
				t.Fatalf("it ends: %v", got.err)
			}
			if !slices.Equal(got.changes, test.changes) {
				t.Errorf("changes: got %v, want %v", got.changes, test.changes)
			}
			if !slices.Equal(got.reasons, test.reasons) {
				t.Errorf("reasons: got %v, want %v", got.reasons, test.reasons)
			}
			log := got.log.String()
			if lines := strings.Count(log, "level=ERROR"); lines != test.errors || !strings.Contains(log, test.store.wrong.Error()) {
				t.Errorf("error lines: got %d, want %d, with %q, in\n%s", lines, test.errors, test.store.wrong, log)
			}
		})
	}
}

// TestG17_WhatIsWrongAtTheStartEndsIt: a misconfigured store ends the start with an error.
func TestG17_WhatIsWrongAtTheStartEndsIt(t *testing.T) {
	wrong := &redisstore.RefusedError{Reason: redisstore.ReasonPassword, Text: "WRONGPASS"}
	got := watchReadiness(t, &flaky{wrong: wrong, wrongTo: time.Hour}, time.Minute)
	if !errors.Is(got.err, redisstore.ErrMisconfigured) || len(got.changes) != 0 {
		t.Errorf("the start: %v, changes %v; want ErrMisconfigured and none", got.err, got.changes)
	}
}

// After Stop the process stays not ready, even if Redis works.
func TestReadinessStopsForGood(t *testing.T) {
	m := New(Config{Store: &flaky{began: time.Now()}, Logger: slog.New(slog.DiscardHandler), Publish: func(bool) {}})
	if err := m.Begin(t.Context()); err != nil || !m.Ready() {
		t.Fatalf("not ready: %v", err)
	}
	m.Stop()
	if err := m.Begin(t.Context()); err != nil || m.Ready() {
		t.Errorf("ready again: %v", err)
	}
}
