//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/internal/webhook"
	"example.com/verification-status/server/tests/rig"
)

// maxRetries is the replicas' MAX_RETRIES.
const maxRetries = 2

// hostile are the faults that webhooks always have: copies, delays and random order.
var hostile = stripesim.Faults{MaxCopies: 3, ReorderWindow: 20, DelayMax: 500 * time.Millisecond}

// faultRig is one run: three replicas, a Redis of some topology, a Stripe, and people.
type faultRig struct {
	t        *testing.T
	plan     plan
	redis    *topology
	sim      *stripesim.Sim
	stripe   string // its address
	recorder *checker.Recorder
	balancer *balancer
	replicas []*replica
	repairs  []repair
	tally    tally

	calls underWay // GetStatus and RetryVerification
	feeds underWay // streams of all sessions

	mu            sync.Mutex // guards the next three
	seenOtherwise int        // violations beside the checker's
	lossesBegun   int
	losing        bool

	people     sync.WaitGroup
	living     context.Context // ends with the last fault: then nobody begins anything new
	endLives   context.CancelFunc
	watches    sync.WaitGroup
	endWatches context.CancelFunc
	watching   context.Context
	updates    updateTime
	repaired   time.Time
	random     *rand.Rand // of the fault that is being injected
}

// runFaults is one topology's run, from birth to verdict.
func runFaults(t *testing.T, redis *topology, p plan) tally {
	w := newFaultRig(t, redis, p)
	w.watchEverything(3)
	var born sync.WaitGroup
	born.Go(w.startPeople)
	w.injectFaults()
	born.Wait()
	w.repairEverything()
	w.endLives()
	w.people.Wait()
	w.settle()
	w.judge()
	return w.tally
}

func newFaultRig(t *testing.T, redis *topology, p plan) *faultRig {
	w := &faultRig{
		t: t, plan: p, redis: redis, tally: tally{kinds: map[string]int{}},
		recorder: checker.NewRecorder(time.Now, func(err error) string { return status.Code(err).String() }),
		balancer: &balancer{client: rig.NewHTTPClient(t), acknowledged: map[string]bool{}, partners: map[string]string{}},
	}
	w.startStripe()
	w.watching, w.endWatches = context.WithCancel(context.Background())
	w.living, w.endLives = context.WithCancel(w.watching)
	t.Cleanup(func() {
		w.endWatches()
		w.people.Wait()
		w.watches.Wait()
		for i, r := range w.replicas {
			r.hangUp()
			w.keepLogs(i, r)
		}
	})
	for i := range 3 {
		env := append(rig.Settings("", redis.env(i)...),
			"STRIPE_API_KEY="+rig.APIKey, "API_READS_PER_DAY=1000000", rig.EnvStripeRate+"=200",
			fmt.Sprintf("MAX_RETRIES=%d", maxRetries), "DRAIN_TIMEOUT="+drainLimit.String(), "RECONCILE_INTERVAL=10s",
		)
		r := &replica{t: t, number: i, env: append(env, "STRIPE_API_BASE="+w.stripe)}
		w.replicas = append(w.replicas, r)
		r.start()
	}
	w.balancer.replicas = w.replicas
	w.balancer.kept = func(event, session string) {
		if rand.IntN(3) == 0 {
			w.watches.Go(func() { w.wantKept(event, session) })
		}
	}
	return w
}

// keepLogs shows errors, and keeps the whole logs of a failed run where go test -artifacts wants it.
func (w *faultRig) keepLogs(i int, r *replica) {
	if !w.t.Failed() {
		return
	}
	for _, line := range r.complaints() {
		w.t.Log(line)
	}
	for n, p := range r.all {
		path := filepath.Join(w.t.ArtifactDir(), fmt.Sprintf("replica-%d-process-%d.log", i, n))
		if err := os.WriteFile(path, []byte(p.Stderr.String()), 0o600); err != nil {
			w.t.Log(err)
		}
	}
}

// startStripe runs a Stripe with the clock of the world: people take their time here.
func (w *faultRig) startStripe() {
	server := httptest.NewUnstartedServer(nil)
	hooks := httptest.NewServer(w.balancer)
	style := styles[*faultStyle]
	if *faultProgram != "" {
		style = stripesim.Snapshot
	}
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{rig.APIKey}, BaseURL: "http://" + server.Listener.Addr().String(), APIVersion: "2026-08-26.dahlia",
		ProcessingDelay: stripesim.OnDemand, MaxEvents: 1_000_000, Seed: w.plan.rand(0).Uint64() | 1,
		// Half of the thin events name their snapshot, so that each of the two ways to apply them is taken.
		Endpoints: []stripesim.Endpoint{{URL: hooks.URL + webhook.Path, Secrets: []string{rig.WebhookSecret}, Style: style, NamesSnapshot: 0.5}},
		Delivery: stripesim.DeliveryConfig{
			Concurrency: 64, MaxQueue: 1_000_000, MaxAttempts: 1000, RetryBase: 200 * time.Millisecond, RetryMax: 2 * time.Second,
		},
	})
	if err == nil {
		err = sim.SetFaults(hostile)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.sim, w.stripe, server.Config.Handler = sim, "http://"+server.Listener.Addr().String(), sim.Handler()
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = sim.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		await.One(w.t, ran)
		server.Close()
		hooks.Close()
	})
}

// client returns a client of any replica that runs, or nil if none does.
func (w *faultRig) client(rng *rand.Rand) verificationv1.VerificationServiceClient {
	for _, i := range rng.Perm(len(w.replicas)) {
		if client := w.replicas[i].client(); client != nil {
			return client
		}
	}
	return nil
}

// startPeople brings the people into the world, spread over the time of the faults.
func (w *faultRig) startPeople() {
	rng := w.plan.rand(1)
	began := time.Now()
	for n := range w.plan.sessions {
		due := w.plan.spread() * time.Duration(n) / time.Duration(w.plan.sessions)
		if pause(w.living, due-time.Since(began)) != nil {
			return
		}
		p := &applicant{faultRig: w, rng: w.plan.rand(uint64(1000 + n)), reference: fmt.Sprintf("person-%d", n)}
		if rng.IntN(10) == 0 && n > 0 {
			p.reference = fmt.Sprintf("person-%d", rng.IntN(n)) // who comes back with another session
		}
		w.people.Go(p.live)
	}
}

// pause ends early, with an error, when ctx does.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNoReplica = errors.New("no replica runs")

// repair ends a fault that lasts.
type repair struct {
	due time.Time
	do  func()
}

func (w *faultRig) repairLater(after time.Duration, do func()) {
	w.repairs = append(w.repairs, repair{time.Now().Add(after), do})
}

// repairDue repairs the faults that are due.
func (w *faultRig) repairDue(now time.Time) {
	w.repairs = slices.DeleteFunc(w.repairs, func(h repair) bool {
		if h.due.After(now) {
			return false
		}
		h.do()
		return true
	})
}

func (w *faultRig) repairEverything() {
	w.repaired = time.Now()
	w.repairDue(time.Now().Add(time.Hour))
	for _, r := range w.replicas {
		r.setClock(0)
	}
}
