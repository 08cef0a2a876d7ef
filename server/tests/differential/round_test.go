package differential

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
)

const (
	// fresh is the greatest age of an answer: the contract says a second.
	fresh = 1250 * time.Millisecond
	// lossVisible bounds the time after a loss for which lost data can be shown: a second too, and the time in which a busy
	// machine brings an answer to its client.
	lossVisible = 2 * time.Second
	// named bounds the time after a loss in which the follower of the feed must name what was lost. It can do so once it
	// reads the feed again, which a fault of the same moment prevents for 2.5 s, and another such fault for as long again.
	named = 10 * time.Second
	// convergeWithin bounds the time from the load until all is as at Stripe: a catch-up rests for 5 s after the previous
	// one, and pauses while Stripe is down.
	convergeWithin = 30 * time.Second
)

// round is one life of the whole: two replicas, a Stripe and clients, with an empty Redis.
type round struct {
	t        *testing.T
	form     *form
	choices  choices
	losing   bool // losses are made
	slowness int64
	stripe   *stripe
	recorder *checker.Recorder
	replicas []*replica
	calls    callsUnderWay

	mu     sync.Mutex
	known  map[string]int32 // the greatest revision of a complete answer; none while a loss lasts
	inLoss bool
	stats  map[string]int
	wrong  int // violations beside the checker's
}

func newRound(t *testing.T, form *form, c choices, losing bool) *round {
	form.flush(t)
	clock := newClock()
	recorder := checker.NewRecorder(clock.now, func(err error) string { return status.Code(err).String() })
	r := &round{
		t: t, form: form, choices: c, losing: losing, recorder: recorder, stripe: newStripe(clock, recorder.Emitted),
		known: make(map[string]int32), stats: make(map[string]int),
		// With many commits, batches are large and losses are overgrown at once. With few commits, the cache gets old.
		slowness: []int64{1, 12}[c.round%2],
	}
	// One cache is too small for all sessions, and one is large enough.
	for n, size := range []int{64, 10_000} {
		r.replicas = append(r.replicas, startReplica(t, fmt.Sprintf("replica %d", n), form.options(n), r.stripe, size))
	}
	r.stripe.mu.Lock()
	for n := range 16 {
		r.stripe.born(fmt.Sprintf("vs_%04d", n), fmt.Sprintf("person %d", n/3), "")
	}
	r.stripe.mu.Unlock()
	return r
}

// run makes load and faults for a while, then delivers the rest, and checks everything.
func (r *round) run(load time.Duration) {
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	var workers sync.WaitGroup
	watchers := r.watchers()
	start := func(work func(context.Context)) { workers.Go(func() { work(ctx) }) }
	start(r.lives)
	for n := range 6 {
		start(func(ctx context.Context) { r.delivers(ctx, r.choices.of(uint64(100+n))) })
		start(func(ctx context.Context) { r.reads(ctx, r.choices.of(uint64(200+n))) })
	}
	for n := range 2 {
		start(func(ctx context.Context) { r.retries(ctx, r.choices.of(uint64(300+n))) })
	}
	for _, w := range watchers {
		start(w.run)
	}
	start(r.faults)
	if r.losing {
		start(r.losses)
	}
	_ = pause(ctx, load)
	stop()
	workers.Wait()
	r.settle()
	r.converge()
	r.endWatches(watchers)
	r.compareRecords()
	r.compareLists()
	r.verdict()
}

func (r *round) lives(ctx context.Context) {
	rng := r.choices.of(1)
	for pause(ctx, r.pace(rng, 6*time.Millisecond)) == nil {
		r.stripe.steps(rng)
	}
}

// pace is the pause between two writes, up to so much in a busy round.
func (r *round) pace(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(r.slowness * int64(most)))
}

// settle lets Stripe finish and deliver what was not acknowledged, and gives the checker the final states.
func (r *round) settle() {
	r.stripe.away.Store(false)
	r.stripe.finish()
	rng := r.choices.of(2)
	for deadline := time.Now().Add(convergeWithin); ; {
		event, left := r.stripe.nextEvent(rng)
		if !left {
			break
		}
		if r.deliver(r.t.Context(), rng, event, atMost) == nil {
			r.stripe.acknowledged(event.ID)
		} else if time.Now().After(deadline) {
			r.t.Fatalf("event %s cannot be delivered", event.ID)
		}
	}
	for _, id := range r.stripe.sessions() {
		r.recorder.Truth(r.stripe.truth(id))
	}
	for _, replica := range r.replicas {
		replica.reconciler.Trigger() // the interval's run, which brings what no webhook did
	}
}

// converge asks for every session until all is as Stripe says.
func (r *round) converge() {
	rng := r.choices.of(3)
	left := r.stripe.sessions()
	for began := time.Now(); ; {
		for _, id := range left {
			request := &verificationv1.GetStatusRequest{Subject: bySession(id), MinRevision: r.knownOf(id), IncludeHistory: rng.IntN(2) == 0}
			_, _ = r.get(r.t.Context(), r.replicas[rng.IntN(2)], request)
		}
		left = left[:0]
		for _, v := range r.recorder.Check(r.options()) {
			if v.Rule == checker.Converged {
				left = append(left, v.Session)
			}
		}
		slices.Sort(left)
		left = slices.Compact(left)
		switch {
		case len(left) == 0:
			return
		case time.Since(began) > convergeWithin:
			r.t.Logf("%d sessions are not as Stripe says %v after the load", len(left), convergeWithin)
			return // the verdict says which
		}
		_ = pause(r.t.Context(), 250*time.Millisecond)
	}
}

func (r *round) options() checker.Options {
	return checker.Options{MaxRetries: maxRetries, Freshness: fresh * scale}
}

func (r *round) verdict() {
	report := r.recorder.Check(r.options())
	for _, v := range report[:min(len(report), 8)] {
		r.t.Errorf("%v", v)
	}
	if len(report) > 0 {
		for _, v := range report[:min(len(report), 3)] {
			r.t.Logf("the record of %s: %v", v.Session, r.history(v.Session))
		}
		r.t.Errorf("-differential.seed=%d, round %d: %d violations", r.choices.seed, r.choices.round+1, len(report)+r.wrong)
	}
	r.busy()
	r.mu.Lock()
	defer r.mu.Unlock()
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(r.stats)) {
		counts = append(counts, fmt.Sprintf("%s: %d", name, r.stats[name]))
	}
	r.t.Logf("%v; %v", r.recorder.Seen(), counts)
}

// busy fails a round in which too little happened to show anything. The bounds are a small part of what happens in the
// short form on a busy machine.
func (r *round) busy() {
	least := map[string]int{"deliveries": 50, "GetStatus OK": 50, "RetryVerification OK": 1, "watch of ": 10, "fault, ": 3}
	if r.losing {
		least["loss, "] = 1
	}
	for prefix, want := range least {
		got := 0
		r.mu.Lock()
		for name, count := range r.stats {
			if strings.HasPrefix(name, prefix) {
				got += count
			}
		}
		r.mu.Unlock()
		if got < want {
			r.t.Errorf("%q: %d; want at least %d, or this round shows nothing", prefix, got, want)
		}
	}
}

// history is a record in short, for people.
func (r *round) history(id string) (lines []string) {
	if id == "" {
		return nil
	}
	s, err := r.replicas[0].store.Get(r.t.Context(), id)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range s.History {
		lines = append(lines, fmt.Sprintf("%d: %s at %d (effect %d) %s", e.Revision, e.EventID, e.EventTime, e.Effect, e.Status))
	}
	return lines
}

// violation is one that the checker cannot see.
func (r *round) violation(format string, arguments ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong++; r.wrong < 20 {
		r.t.Errorf(format, arguments...)
	}
}

func (r *round) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats[what]++
}

// saw notes a revision that a complete answer showed.
func (r *round) saw(v *verificationv1.Verification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.inLoss && v != nil {
		r.known[v.GetSessionId()] = max(r.known[v.GetSessionId()], v.GetRevision())
	}
}

func (r *round) knownOf(id string) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}

// wantKnown says that an error is one that clients must expect while things break.
func (r *round) wantKnown(what string, err error) {
	switch status.Code(err) {
	case codes.OK, codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.ResourceExhausted:
	case codes.NotFound, codes.OutOfRange: // the checker judges
	default:
		r.violation("%s: %v", what, err)
	}
}

// callsUnderWay are calls that had begun by some moment.
type callsUnderWay struct {
	mu      sync.Mutex
	current *sync.WaitGroup
}

func (c *callsUnderWay) begin() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		c.current = new(sync.WaitGroup)
	}
	c.current.Add(1)
	return c.current.Done
}

// wait returns when every call that has begun by now is over; each has a deadline.
func (c *callsUnderWay) wait() {
	c.mu.Lock()
	before := c.current
	c.current = nil
	c.mu.Unlock()
	if before != nil {
		before.Wait()
	}
}
