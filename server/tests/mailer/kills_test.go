package mailer

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var (
	lives     = flag.Int("mailer.lives", 48, "how many lives at Stripe there are at least; .ci/mailer has 2000")
	kills     = flag.Int("mailer.kills", 16, "how often a mailer is killed; .ci/mailer does it 300 times")
	failovers = flag.Int("mailer.failovers", 1, "how often Redis fails over meanwhile")
	seed      = flag.Uint64("mailer.seed", 0, "the seed of the lives and kills; 0: a random one")
)

// steps are the steps at which a mailer is killed, see client/example/mailer.
var steps = []string{"receive", "send", "data", "sent", "record", "recorded", "acknowledge", "acknowledged"}

const (
	domain      = "@people.example"
	teamAddress = "team@company.example"
	// redisReplicas is also how many replicas a write waits for. With fewer, a failover can lose what was answered: the Sentinels
	// promote the replica that they believe to be furthest.
	redisReplicas = 2
	// mostLiving bounds the persons who live at once. Mailers that are killed at their first mail again and again send few mails, and
	// new persons must not come faster than that: a person waits no longer than patience.
	mostLiving = 100
)

// world is two servers over Redis with Sentinels, a simulated Stripe, an inbox, two mailers, and persons.
type world struct {
	t           *testing.T
	rng         *rand.Rand
	stripe      *rig.FakeStripe
	stripeClock *clock
	post        *post
	redis       *redistest.SentinelSet
	webhooks    webhooks
	operators   []operator // one at each server
	inbox       *inbox
	http        *http.Client

	program string
	args    []string
	mailers [2]*instance
	killed  map[string]int // by step

	persons []*person
	living  sync.WaitGroup
	room    chan struct{} // has an element for each person who lives
	ctx     context.Context
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-mailer.seed=%d", *seed)
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(*seed, 1)), stripeClock: &clock{}, http: rig.NewHTTPClient(t),
		killed: map[string]int{}, room: make(chan struct{}, mostLiving), ctx: t.Context(),
	}
	w.inbox = startInbox(t)
	w.program = filepath.Join(t.TempDir(), "mailer")
	var building errgroup.Group
	building.Go(func() error { return build(w.program) })
	defer func() { _ = building.Wait() }()
	w.redis = redistest.StartSentinel(t, redisReplicas, 3)
	w.stripeClock.seconds.Store(time.Now().Add(-12 * time.Hour).Unix())
	w.stripe = rig.StartFakeStripe(t, func(c *stripesim.Config) { c.Now = w.stripeClock.now })
	hideEvents(w.stripe, w.stripeClock)
	w.post = collect(t, w.stripe)
	env := w.stripe.Settings("", "REDIS_URL=redis://"+strings.Join(w.redis.Addrs(), ","), "REDIS_MODE=sentinel",
		"REDIS_SENTINEL_MASTER="+redistest.MasterName, fmt.Sprintf("REDIS_WAIT_REPLICAS=%d", redisReplicas),
		"API_READS_PER_DAY=1000000", "RECONCILE_INTERVAL=24h",
		fmt.Sprintf("MAX_RETRIES=%d", maxRetries), rig.EnvStripeRate+"=500")
	servers := []*rig.Process{rig.Launch(t, env, "serve"), rig.Launch(t, env, "serve")}
	for _, server := range servers {
		rig.AwaitServing(server)
	}
	w.webhooks = webhooks{client: w.http, servers: servers}
	for _, server := range servers {
		w.operators = append(w.operators, newOperator(t, server))
	}
	if err := building.Wait(); err != nil {
		t.Fatal(err)
	}
	w.args = []string{
		"-status", servers[0].GRPC, "-smtp", w.inbox.smtp, "-from", "verify@company.example", "-team", teamAddress,
		"-address", "{reference}" + domain, "-sent", filepath.Join(t.TempDir(), "sent"),
	}
	return w
}

// start starts a mailer. Each but the first requires that the consumer exists.
func (w *world) start(n int, more ...string) {
	args := append([]string{}, w.args...)
	args[1] = w.webhooks.servers[n].GRPC
	w.mailers[n] = launch(w.t, w.program, append(args, more...)...)
}

// awaitConsumer waits until the consumer exists: it begins with the next outcome.
func (w *world) awaitConsumer() {
	_, conn := rig.Dial(w.t, w.webhooks.servers[0].GRPC)
	feed := verificationv1.NewFeedServiceClient(conn)
	w.mailers[0].Await("the consumer exists", func() bool {
		all, err := feed.ListConsumers(w.ctx, &verificationv1.ListConsumersRequest{})
		return err == nil && len(all.GetConsumers()) == 1
	})
}

// begin lets n more persons live, each when there is room.
func (w *world) begin(n int) {
	late := time.After(patience)
	for range n {
		select {
		case w.room <- struct{}{}:
		case <-late:
			w.t.Fatalf("%d persons live, and none has come to its end in %v", mostLiving, patience)
		}
		w.live()
	}
}

// live lets one more person live, who has room.
func (w *world) live() {
	p := &person{
		world: w, rng: rand.New(rand.NewPCG(*seed, uint64(len(w.persons)+2))),
		address: fmt.Sprintf("person-%d%s", len(w.persons), domain),
	}
	w.persons = append(w.persons, p)
	w.living.Go(func() {
		defer func() { <-w.room }()
		ctx, cancel := context.WithTimeout(w.ctx, 4*patience)
		defer cancel()
		if err := p.live(ctx); err != nil {
			w.t.Errorf("%s %s: %v", p.address, p.id, err)
		}
	})
}

// kill waits until a mailer has killed itself at a step, and starts it again. Further persons live as long as none reaches the step.
func (w *world) kill(step string) {
	w.revive()
	for _, m := range w.mailers {
		m.arm(step)
	}
	over := time.After(patience)
	more := time.NewTicker(2 * time.Second)
	defer more.Stop()
	for {
		select {
		case <-w.mailers[0].Ended:
		case <-w.mailers[1].Ended:
		case <-more.C:
			select {
			case w.room <- struct{}{}:
				w.live()
			default: // enough persons live, and bring a mailer to the step
			}
			continue
		case <-over:
			w.t.Fatalf("no mailer reached the step %q in %v", step, patience)
		}
		break
	}
	for _, m := range w.mailers {
		if !m.hasEnded() {
			m.arm("")
		}
	}
	w.revive()
}

// revive counts the mailers that have killed themselves, and starts them again.
func (w *world) revive() {
	for n, m := range w.mailers {
		if !m.hasEnded() {
			continue
		}
		m.AwaitKilled()
		w.killed[m.armedWith()]++
		w.start(n, "-must-exist")
	}
}

// failOver kills Redis' master. A replica becomes the master, and the old one its replica.
func (w *world) failOver() {
	old := w.redis.Master()
	if old == nil {
		w.t.Fatal("the Sentinels know no master")
	}
	old.Stop()
	w.redis.AwaitNewMaster(old)
	w.redis.Restart(old)
}

// TestG14_TheMailerIsKilledAtEachStep: two mailers are killed at each step, in random order, while Redis fails over and loses nothing.
// Operators allow more tries and resolve sessions, which brings no mail. Each outcome has its mail. A mail that comes again has the same
// Message-ID, and there is at most one for each kill.
func TestG14_TheMailerIsKilledAtEachStep(t *testing.T) {
	w := newWorld(t)
	w.start(0)
	w.awaitConsumer()
	w.start(1, "-must-exist")

	plan := make([]string, *kills)
	for i := range plan {
		plan[i] = steps[i%len(steps)]
	}
	w.rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	began, failedOver := time.Now(), 0
	for i, step := range plan {
		w.begin((i+1)**lives / *kills - i**lives / *kills)
		if (i+1)**failovers / *kills > failedOver {
			failedOver++
			w.failOver()
		}
		w.kill(step)
	}
	w.living.Wait()
	// One more mail from most of the 16 partitions of the feed: whatever was sent before would have come by now.
	w.begin(24)
	w.living.Wait()
	took := time.Since(began)
	for _, m := range w.mailers {
		m.Signal(syscall.SIGTERM)
	}
	for _, m := range w.mailers {
		if code := m.Exit(rig.Soon); code != 0 {
			t.Errorf("a mailer ended with %d: %s", code, rig.Tail(m.Stderr.String()))
		}
	}
	if err := w.inbox.look(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range w.killed {
		total += n
	}
	mails, again := judge(t, w.persons, w.inbox, total)
	t.Logf("%d lives, %d kills %v, %d failovers, %d mails, %d of them came again, %v", len(w.persons), total, w.killed, failedOver, mails, again, took.Round(time.Millisecond))
	if t.Failed() {
		for _, s := range w.webhooks.servers {
			t.Log(rig.Tail(s.Stderr.String()))
		}
	}
}
