package client_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/client"
)

var (
	outages  = flag.Duration("outage.longest", 0, "how long the longest outage of TestAfterAnOutage lasts: 5 s, 15 s, 30 s and 60 s up to this; 0: one of 4 s")
	programs = flag.Int("outage.clients", 10, "how many clients TestAfterAnOutage has, with 20 watches each")
)

// relay forwards TCP connections to a server until it is cut.
type relay struct {
	t          *testing.T
	addr, to   string
	mu         sync.Mutex
	listener   net.Listener // nil: cut
	open       map[net.Conn]bool
	goroutines sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	r := &relay{t: t, addr: "127.0.0.1:0", to: to, open: make(map[net.Conn]bool)}
	r.restore()
	t.Cleanup(func() { r.cut(); r.goroutines.Wait() })
	return r
}

// restore listens again at the same address.
func (r *relay) restore() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.addr, r.listener = listener.Addr().String(), listener
	r.mu.Unlock()
	r.goroutines.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			r.goroutines.Go(func() { r.hand(listener, from) })
		}
	})
}

func (r *relay) hand(listener net.Listener, from net.Conn) {
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		_ = from.Close()
		return
	}
	r.mu.Lock()
	live := r.listener == listener
	if live {
		r.open[from], r.open[to] = true, true
	}
	r.mu.Unlock()
	if live {
		r.goroutines.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
		_, _ = io.Copy(from, to)
	}
	_, _ = from.Close(), to.Close()
	r.mu.Lock()
	delete(r.open, from)
	delete(r.open, to)
	r.mu.Unlock()
}

// cut closes all connections and refuses further ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		return
	}
	_ = r.listener.Close()
	r.listener = nil
	for conn := range r.open {
		_ = conn.Close()
	}
}

// delays collects the times from the server's return until something worked again.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) add(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, delay)
}

// report prints a histogram, and fails the test if one in a hundred took longer than limit.
func (d *delays) report(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	slices.Sort(d.all)
	if len(d.all) == 0 {
		t.Fatalf("%s: none was measured", what)
	}
	at := func(percent int) time.Duration { return d.all[(len(d.all)-1)*percent/100].Round(time.Millisecond) }
	t.Logf("%s: %d, p50 %v, p90 %v, p99 %v, longest %v", what, len(d.all), at(50), at(90), at(99), at(100))
	for from := time.Duration(0); from <= d.all[len(d.all)-1]; from += 500 * time.Millisecond {
		n := 0
		for _, delay := range d.all {
			if delay >= from && delay < from+500*time.Millisecond {
				n++
			}
		}
		t.Logf("  from %4v: %d", from, n)
	}
	if at(99) > limit {
		t.Errorf("%s: p99 %v after the return; want %v at the most", what, at(99), limit)
	}
}

// TestAfterAnOutage: a relay before the server is cut for some seconds and restored. Within the time that the default backoff
// promises, all watches have the changes of the outage and calls are answered. No call fails that had seconds left.
func TestAfterAnOutage(t *testing.T) {
	lasting := []time.Duration{4 * time.Second}
	if *outages > 0 {
		lasting = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute}
		lasting = slices.DeleteFunc(lasting, func(d time.Duration) bool { return d > *outages })
	}
	for _, long := range lasting {
		t.Run(long.String(), func(t *testing.T) { testOutage(t, long) })
	}
}

func testOutage(t *testing.T, long time.Duration) {
	const watchesEach, longest = 20, 6 * time.Second // 3 s of the backoff, half a second of spreading, and a slow machine
	leavesNothing(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := newServer(t)
	r := newRelay(t, server.Target())
	flip(server, "vs_1", 1)

	ctx, cancel := context.WithTimeout(t.Context(), long+soon)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var back time.Time // read behind the channel restored only
	restored := make(chan struct{})
	var watched, called delays
	ready, caughtUp := make(chan struct{}, *programs*watchesEach), make(chan struct{}, *programs*watchesEach)
	var clients []*client.Client
	for range *programs {
		c, err := client.Dial(r.addr, client.WithPlaintext())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
		for range watchesEach {
			running.Go(func() {
				for update, err := range c.Watch(ctx, client.Session("vs_1")) {
					switch {
					case errors.Is(err, context.Canceled):
						return
					case err != nil:
						t.Errorf("a watch ended: %v", err)
						return
					case update.Verification.GetRevision() == 1:
						ready <- struct{}{}
						continue
					}
					select {
					case <-restored:
					case <-ctx.Done():
						return
					}
					watched.add(time.Since(back))
					caughtUp <- struct{}{}
					return
				}
			})
		}
	}
	await := func(what string, each <-chan struct{}) {
		t.Helper()
		for n := range *programs * watchesEach {
			select {
			case <-each:
			case <-ctx.Done():
				t.Fatalf("%s: only %d watches", what, n)
			}
		}
	}
	await("before the outage", ready)
	r.cut()
	flip(server, "vs_1", 2)

	// Calls come all the time. Those of the last five seconds of the outage can wait for its end.
	ended := time.After(long)
	click := func() {
		c, began := clients[random.IntN(len(clients))], time.Now()
		running.Go(func() {
			_, err := c.Status(ctx, client.Session("vs_1"))
			select {
			case <-restored:
			case <-ctx.Done():
				return
			}
			switch {
			case began.Before(back.Add(-5 * time.Second)):
			case err != nil:
				t.Errorf("a call that began %v before the return: %v", back.Sub(began), err)
			default:
				called.add(time.Since(back) - max(began.Sub(back), 0))
			}
		})
	}
	for clicking := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-clicking.C:
			click()
			continue
		case <-ended:
			clicking.Stop()
		}
		break
	}
	r.restore()
	back = time.Now()
	close(restored)
	for range 20 {
		click()
	}
	await("after the outage", caughtUp)
	running.Wait()
	watched.report(t, "watches", longest)
	called.report(t, "calls", longest)
}
