package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// outage is how a Stripe fails.
type outage string

const (
	well      outage = "well"
	refused   outage = "no connection"
	unrouted  outage = "no connection, and no refusal"
	failing   outage = "500"
	limiting  outage = "429"
	revoked   outage = "401"
	forbidden outage = "403"
	hanging   outage = "no answer"
)

// pipes is a listener in memory, so that a test can run in virtual time.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// outageRig is a client of a Stripe that fails, with the limits that are the default.
type outageRig struct {
	*client
	ingest *ingest.Ingest
	state  atomic.Value // outage
	asked  atomic.Int32 // requests that Stripe received
}

const readsPerDay = 5000

func newOutageRig(t *testing.T) *outageRig {
	t.Helper()
	r := &outageRig{}
	r.state.Store(well)
	listener := &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(r.answer)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	r.client = dial(t, "http://stripe.test", func(config *stripeapi.Config) {
		config.RatePerSecond, config.ReadsPerDay, config.CallerSharePercent = 10, readsPerDay, 25
	})
	r.DialBy(func(ctx context.Context, _, _ string) (net.Conn, error) {
		switch r.state.Load() {
		case refused:
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		case unrouted:
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}
		near, far := net.Pipe()
		select {
		case listener.connections <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r.ingest = ingest.New(ingest.Config{Store: &noRecords{}, Stripe: r.Client, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		r.ingest.Close()
		r.Close()
		_ = server.Close()
		serving.Wait()
	})
	return r
}

func (r *outageRig) answer(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	switch r.state.Load() {
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
	case limiting:
		w.WriteHeader(http.StatusTooManyRequests)
	case revoked:
		w.WriteHeader(http.StatusUnauthorized)
	case forbidden:
		w.WriteHeader(http.StatusForbidden)
	case hanging:
		<-request.Context().Done()
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"resource_missing"}}`))
		return
	}
	_, _ = w.Write([]byte(`{"error":{"type":"api_error"}}`))
}

// noRecords is a store without records.
type noRecords struct{ store.Store }

func (*noRecords) Get(context.Context, string) (verification.Session, error) {
	return verification.Session{}, store.ErrNotFound
}

// breakWith makes Stripe fail in a way, or be well again. It ends the idle connections, so that the next read needs a new one.
func (r *outageRig) breakWith(how outage) {
	r.state.Store(how)
	r.Close()
}

// lookups looks n sessions up until the context ends, each again after the pauses in turn. It returns how many answers
// there were in all, and the last error of each.
func (r *outageRig) lookups(ctx context.Context, n int, pauses ...time.Duration) (calls int, last []error) {
	var counted atomic.Int32
	var people sync.WaitGroup
	last = make([]error, n)
	for i := range n {
		people.Go(func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				_, last[i] = r.ingest.ReadUnknown(context.WithoutCancel(ctx), "", fmt.Sprintf("vs_New%d", i))
				counted.Add(1)
				select {
				case <-time.After(pauses[min(turn, len(pauses)-1)]):
				case <-ctx.Done():
				}
			}
		})
	}
	people.Wait()
	return int(counted.Load()), last
}

// TestG15_AnOutageOfStripeSpendsFewLookups: 20 watches of sessions not yet known, or callers that come again each second.
func TestG15_AnOutageOfStripeSpendsFewLookups(t *testing.T) {
	for _, test := range []struct {
		how  outage
		most int // lookups that the budget counts within a minute
		want error
	}{
		{refused, 0, verification.ErrStripeUnavailable},
		{unrouted, 0, verification.ErrStripeUnavailable},
		{failing, 10, verification.ErrStripeUnavailable},
		{limiting, 10, verification.ErrStripeUnavailable},
		{revoked, 10, verification.ErrStripeUnauthorized},
		{forbidden, 10, verification.ErrStripeUnauthorized},
		{hanging, 25, verification.ErrStripeUnavailable}, // all are asked before the first one is known to hang
	} {
		for name, pauses := range map[string][]time.Duration{
			"watches": {time.Second, 5 * time.Second, 30 * time.Second}, "calls": {time.Second},
		} {
			t.Run(name+", "+string(test.how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newOutageRig(t)
					r.breakWith(test.how)
					minute, cancel := context.WithTimeout(as(t, "bff"), time.Minute)
					defer cancel()
					calls, last := r.lookups(minute, 20, pauses...)
					if spent := readsPerDay - r.ReadsLeft(); spent > test.most || int(r.asked.Load()) > max(spent, test.most) {
						t.Errorf("%d calls spent %d lookups, and Stripe was asked %d times; want %d at most", calls, spent, r.asked.Load(), test.most)
					}
					if n := strings.Count(r.logs.String(), "lookups are paused"); n != 1 {
						t.Errorf("%d warnings that lookups are paused, want 1", n)
					}
					for _, err := range last {
						if !errors.Is(err, test.want) {
							t.Errorf("error %v, want %v", err, test.want)
						}
					}
					// The outage ends: the next lookup after the pause shows it, and all are answered.
					r.breakWith(well)
					time.Sleep(30 * time.Second)
					soon, cancel := context.WithTimeout(as(t, "bff"), 6*time.Second)
					defer cancel()
					if _, last = r.lookups(soon, 20, time.Second); !strings.Contains(r.logs.String(), "lookups are sent again") {
						t.Error("no line that lookups are sent again")
					}
					for _, err := range last {
						if !errors.Is(err, store.ErrNotFound) {
							t.Errorf("after the outage: error %v, want ErrNotFound", err)
						}
					}
				})
			})
		}
	}
}

// TestOnlyLookupsArePaused: what is not asked for by callers again and again is sent, and its answer ends the pause.
func TestOnlyLookupsArePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOutageRig(t)
		r.breakWith(failing)
		read := func(purpose verification.Purpose) (sent bool) {
			before := r.asked.Load()
			_, _ = r.Read(t.Context(), purpose, "", id)
			return r.asked.Load() > before
		}
		for range stripeapi.BreakerFailures {
			if !read(verification.PurposeLookup) {
				t.Error("a lookup is not sent before Stripe failed often enough")
			}
		}
		for _, purpose := range []verification.Purpose{verification.PurposeAmbiguous, verification.PurposeRetry, verification.PurposeCatchUp} {
			if !read(purpose) {
				t.Errorf("a read for purpose %d is not sent", purpose)
			}
		}
		if read(verification.PurposeLookup) {
			t.Error("a lookup is sent while Stripe fails")
		}
		if !strings.HasSuffix(r.observed(), "retrieve:busy") {
			t.Errorf("observed %s", r.observed())
		}
		r.breakWith(well)
		if !read(verification.PurposeRetry) || !read(verification.PurposeLookup) || !read(verification.PurposeLookup) {
			t.Error("after an answer of Stripe a lookup is not sent")
		}
	})
}

// TestAPauseOfLookupsIsLongerEachTime: after each pause one lookup decides, however many wait.
func TestAPauseOfLookupsIsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOutageRig(t)
		r.breakWith(failing)
		round := func() (sent int32) {
			before := r.asked.Load()
			var calls sync.WaitGroup
			for n := range 20 {
				calls.Go(func() { _, _ = r.FindByReference(t.Context(), fmt.Sprint("case-", n)) })
			}
			calls.Wait()
			return r.asked.Load() - before
		}
		for range stripeapi.BreakerFailures {
			_, _ = r.FindByReference(t.Context(), "case-17")
		}
		pauses := stripeapi.BreakerPauses()
		for _, pause := range append(pauses, pauses[len(pauses)-1]) {
			failed := time.Now() // the last lookup that was sent
			time.Sleep(pause - time.Millisecond)
			if sent := round(); sent != 0 {
				t.Errorf("%d lookups are sent within a pause of %v, want none", sent, pause)
			}
			time.Sleep(time.Until(failed.Add(pause)))
			before := r.asked.Load()
			_, _ = r.FindByReference(t.Context(), "case-17")
			if sent := r.asked.Load() - before; sent != 1 {
				t.Errorf("%d lookups are sent after a pause of %v, want 1", sent, pause)
			}
			if sent := round(); sent != 0 {
				t.Errorf("%d lookups are sent after one has failed again, want none", sent)
			}
		}
		time.Sleep(pauses[len(pauses)-1])
		if sent := round(); sent != 1 {
			t.Errorf("%d lookups of 20 are sent after a pause, want 1", sent)
		}
	})
}

// TestCallersCannotPauseLookups: not by giving up early, not by an account that refuses the key, and not by what Stripe refuses or does not know.
func TestCallersCannotPauseLookups(t *testing.T) {
	for name, test := range map[string]struct {
		how  outage
		call func(t *testing.T, r *outageRig)
	}{
		"short deadlines": {hanging, func(t *testing.T, r *outageRig) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = r.Read(ctx, verification.PurposeLookup, "", id)
		}},
		"retries": {failing, func(t *testing.T, r *outageRig) { _, _ = r.Retrieve(t.Context(), "", id) }},
		"an account": {forbidden, func(t *testing.T, r *outageRig) {
			_, _ = r.Read(t.Context(), verification.PurposeLookup, "acct_1", id)
		}},
		"unknown sessions": {well, func(t *testing.T, r *outageRig) { _, _ = r.Read(t.Context(), verification.PurposeLookup, "", id) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newOutageRig(t)
				r.breakWith(test.how)
				for range stripeapi.BreakerFailures {
					test.call(t, r)
				}
				r.breakWith(well)
				if _, err := r.Read(t.Context(), verification.PurposeLookup, "", id); !errors.Is(err, verification.ErrStripeUnknown) {
					t.Errorf("error %v, want ErrStripeUnknown", err)
				}
			})
		})
	}
}

// TestAReadThatIsNotSentIsGivenBack: without a connection the day's reads stay whole. An answer that is no use counts.
func TestAReadThatIsNotSentIsGivenBack(t *testing.T) {
	for how, want := range map[outage]int{refused: 0, unrouted: 0, failing: 1, revoked: 1, hanging: 1, well: 1} {
		synctest.Test(t, func(t *testing.T) {
			r := newOutageRig(t)
			r.breakWith(how)
			_, _ = r.Retrieve(t.Context(), "", id)
			if spent := readsPerDay - r.ReadsLeft(); spent != want {
				t.Errorf("%s: a retry spent %d reads, want %d", how, spent, want)
			}
		})
	}
}
