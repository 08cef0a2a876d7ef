//go:build load

package load

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// beforeFormats is the last commit before the forms of records and of feed entries could change again.
const beforeFormats = "556f39b297075c90c80cb39df0903e3c120521f6"

var (
	upgradeFrom   = flag.String("upgrade.from", beforeFormats, "the commit whose server is the older version")
	upgradeBirths = flag.Float64("upgrade.births", 3, "how many people begin each second")
	upgradePause  = flag.Duration("upgrade.pause", 300*time.Millisecond, "for how long traffic runs between two replacements")
	upgradeSeed   = flag.Uint64("upgrade.seed", 0, "repeats the choices of an earlier run; 0: a new seed")

	upgradeOldEnv, upgradeHeadEnv []string
)

func init() {
	setting := func(of *[]string) func(string) error {
		return func(text string) error {
			*of = append(*of, text)
			return nil
		}
	}
	flag.Func("upgrade.head-env", "a further setting of this version, such as RECORD_FORMAT=3; can be given several times", setting(&upgradeHeadEnv))
	flag.Func("upgrade.old-env", "the same for the older version", setting(&upgradeOldEnv))
}

// upgradeRetries is the servers' MAX_RETRIES.
const upgradeRetries = 2

// TestG13_G14_MixedVersionsUnderTraffic replaces three servers of an older commit by this version, one after the other, then goes
// back, then forward again, all over one Redis. Meanwhile simulated people are verified. Their webhooks come in both styles. Watches,
// a named consumer, lists and calls run through the Go client, and operators allow retries. The servers end without preStop, so
// webhooks meet closed ports; Stripe sends these again. At the end:
//
//   - Each session has Stripe's status, and each event that was acknowledged.
//   - No watch had a hole, a repeat or a reset.
//   - Each accepted retry is one grant, and each accepted replacement one session.
//   - The consumer has handled each outcome.
//   - No server has logged an error.
//
// .ci/upgrade runs it for minutes.
func TestG13_G14_MixedVersionsUnderTraffic(t *testing.T) {
	seed := *upgradeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("-upgrade.seed=%d\n", seed)
	older := version{"old", buildServer(t, *upgradeFrom), upgradeOldEnv}
	head := version{"head", ownServer(t), upgradeHeadEnv}
	u := newUpgrade(t, seed, older)
	began := time.Now()
	u.watchEverything(2)
	u.consumeEverything()
	u.lives.Go(u.listEverything)
	u.lives.Go(u.startPeople)
	for _, to := range []version{head, older, head} {
		u.replaceAll(to)
	}
	u.awaitEachLife()
	t.Logf("nine servers were replaced in %v", time.Since(began).Round(time.Second))
	u.endLiving()
	u.lives.Wait()
	u.judge()
	u.report()
}

// upgrade is one Stripe, one Redis, three servers, and the people and programs that use them.
type upgrade struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand // of the order of replacements
	stripe   *rig.FakeStripe
	redis    *redistest.Server
	slots    []*slot
	ingress  *ingress
	recorder *checker.Recorder
	calls    tallies // errors of calls that were repeated, and ends of streams
	streams  tallies

	living     context.Context // until the last replacement: people do something new
	endLiving  context.CancelFunc
	watching   context.Context // until everything was judged
	endWatches context.CancelFunc
	lives      sync.WaitGroup
	watches    sync.WaitGroup

	reader, caller, watcher *client.Client

	everything []*feedWatch
	consumer   *upgradeConsumer

	mu     sync.Mutex // guards what follows
	people []*person
	lived  map[string]int // whole lives, by their kind
}

func newUpgrade(t *testing.T, seed uint64, first version) *upgrade {
	t.Helper()
	u := &upgrade{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), redis: redistest.Start(t, "--appendonly", "yes"), lived: map[string]int{},
		recorder: checker.NewRecorder(time.Now, func(err error) string { return status.Code(err).String() }),
	}
	u.living, u.endLiving = context.WithCancel(context.Background())
	u.watching, u.endWatches = context.WithCancel(context.Background())
	for n := range 3 {
		u.slots = append(u.slots, newSlot(u, n))
	}
	u.ingress = startIngress(u)
	u.stripe = rig.StartFakeStripe(t, func(c *stripesim.Config) {
		// People take their time, and so the clock is the real one. A thin event whose body names its snapshot event is applied
		// otherwise than one that does not: half of them do.
		c.Now, c.Seed, c.MaxEvents = time.Now, seed|1, 1_000_000
		c.Endpoints = []stripesim.Endpoint{{URL: u.ingress.url, Secrets: []string{rig.WebhookSecret}, Style: stripesim.Mixed, NamesSnapshot: 0.5}}
		c.Delivery = stripesim.DeliveryConfig{MaxAttempts: 1000, RetryBase: 200 * time.Millisecond, RetryMax: time.Second}
	})
	t.Cleanup(u.stop)
	for _, s := range u.slots {
		s.start(first)
	}
	return u
}

// stop ends the people and the watches.
func (u *upgrade) stop() {
	u.endLiving()
	u.endWatches()
	u.lives.Wait()
	u.watches.Wait()
}

// replaceAll replaces all servers by a version, in random order, each under the traffic of a pause.
func (u *upgrade) replaceAll(to version) {
	u.t.Helper()
	for _, n := range u.rng.Perm(len(u.slots)) {
		_ = pauseFor(u.living, *upgradePause) // this is the load, and no wait for anything
		u.ingress.awaitMore(5)
		u.slots[n].stop()
		u.slots[n].start(to)
	}
}

// awaitEachLife waits until one life of each kind was led to its end, so that the verdict is about all of them.
func (u *upgrade) awaitEachLife() {
	u.t.Helper()
	rig.AwaitWithin(u.t, time.Minute, "one whole life of each kind", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return !slices.ContainsFunc(lifeKinds, func(k lifeKind) bool { return u.lived[k.name] == 0 })
	})
}

// wrong reports what must not be.
func (u *upgrade) wrong(format string, arguments ...any) {
	u.t.Helper()
	u.t.Errorf("seed %d: "+format, append([]any{u.seed}, arguments...)...)
}

// pauseFor ends early, with an error, when ctx does.
func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
