package stripesim

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76/webhook"
)

func countByEvent(hooks []hook) map[string]int {
	n := map[string]int{}
	for _, h := range hooks {
		n[h.id]++
	}
	return n
}

func TestDuplicates(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}})
	must(t, b.SetFaults(Faults{MaxCopies: 3}))
	b.run()
	for range 30 {
		b.life(OutcomeVerified)
	}
	b.settle()
	counts := countByEvent(c.hooks())
	seen := map[int]bool{}
	for _, n := range counts {
		seen[n] = true
	}
	if len(counts) != 90 || !cmp.Equal(seen, map[int]bool{1: true, 2: true, 3: true}) {
		t.Fatalf("%d events, copies %v", len(counts), seen)
	}
	if s := b.Stats(); s.Delivered != 90+s.Copies {
		t.Fatalf("%+v", s)
	}
}

func TestDrops(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}})
	must(t, b.SetFaults(Faults{DropProbability: 0.5}))
	b.run()
	for range 60 {
		b.life()
	}
	must(t, b.SetFaults(Faults{DropProbability: 1}))
	b.life()
	must(t, b.SetFaults(Faults{}))
	b.life()
	b.settle()
	s := b.Stats()
	if s.Dropped < 15 || s.Dropped > 46 || s.Delivered+s.Dropped != 62 || len(b.Events()) != 62 || len(c.hooks()) != s.Delivered {
		t.Fatalf("%+v", s)
	}
}

func TestReorder(t *testing.T) {
	c := newConsumer(t, nil)
	// One at a time, so that the order of arrival is the order of sending.
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: DeliveryConfig{Concurrency: 1}})
	must(t, b.SetFaults(Faults{ReorderWindow: 10}))
	b.run()
	b.life("document_expired", "document_expired", "document_expired", "document_expired", OutcomeVerified) // 11 events
	b.settle()                                                                                              // the eleventh leaves its window by time
	var want, got []string
	for _, e := range b.Events() {
		want = append(want, e.ID)
	}
	for _, h := range c.hooks() {
		got = append(got, h.id)
	}
	if slices.Equal(want, got) {
		t.Fatal("nothing was reordered")
	}
	if last := len(want) - 1; want[last] != got[last] {
		t.Fatal("an event left its window")
	}
	if !cmp.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))) {
		t.Fatal("events were lost or doubled")
	}
}

func TestChangedFaultsReleaseWhatIsHeld(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}})
	must(t, b.SetFaults(Faults{ReorderWindow: 1000}))
	b.life(OutcomeVerified)
	must(t, b.SetFaults(Faults{}))
	b.run()
	b.settle()
	if n := len(c.hooks()); n != 3 {
		t.Fatalf("%d of 3", n)
	}
}

func TestDelays(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}})
	must(t, b.SetFaults(Faults{DelayMin: 30 * time.Millisecond, DelayMax: 40 * time.Millisecond}))
	b.run()
	began := time.Now()
	b.life()
	b.settle()
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Fatalf("sent after %v", took)
	}
}

func TestFrozenClockMakesBurstsWithinOneSecond(t *testing.T) {
	c := newConsumer(t, nil)
	at := time.Now()
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Now: func() time.Time {
		at = at.Add(10 * time.Second)
		return at
	}})
	must(t, b.SetFaults(Faults{FreezeClock: true}))
	b.life("document_expired", OutcomeVerified)
	must(t, b.SetFaults(Faults{FreezeClock: true, MaxCopies: 2})) // stays where it is
	b.life()
	must(t, b.SetFaults(Faults{}))
	b.life()
	seconds := map[int64]int{}
	for _, e := range b.Events() {
		seconds[e.Created]++
	}
	if got := slices.Sorted(maps.Values(seconds)); !slices.Equal(got, []int{1, 6}) {
		t.Fatalf("events by second: %v", seconds)
	}
	b.run()
	b.settle()
	frozen := b.Events()[0].Created
	for _, h := range c.hooks() {
		if err := webhook.ValidatePayloadIgnoringTolerance(h.body, h.signature, secret); err != nil {
			t.Fatal(err)
		}
		if h.signature[2:12] <= strconv.FormatInt(frozen, 10) {
			t.Fatalf("signed at the frozen time: %s", h.signature[:12])
		}
	}
}

func TestFaultsFollowTheSeed(t *testing.T) {
	fates := func(seed uint64) []int {
		c := newConsumer(t, nil)
		b := newBench(t, Config{Seed: seed, Endpoints: []Endpoint{c.endpoint()}})
		must(t, b.SetFaults(Faults{MaxCopies: 3, DropProbability: 0.3}))
		b.run()
		for range 20 {
			b.life()
		}
		b.settle()
		counts := countByEvent(c.hooks())
		var out []int
		for _, e := range b.Events() {
			out = append(out, counts[e.ID])
		}
		return out
	}
	if first, same, other := fates(5), fates(5), fates(6); !slices.Equal(first, same) || slices.Equal(first, other) {
		t.Fatalf("%v\n%v\n%v", first, same, other)
	}
}

func TestFaultsAreChecked(t *testing.T) {
	b := newBench(t, Config{})
	nan := 0.0
	nan /= nan
	for name, f := range map[string]Faults{
		"copies":    {MaxCopies: 101},
		"negative":  {MaxCopies: -1},
		"window":    {ReorderWindow: 10_001},
		"delays":    {DelayMin: 2, DelayMax: 1},
		"long":      {DelayMax: 2 * time.Hour},
		"share":     {DropProbability: 1.1},
		"no number": {DropProbability: nan},
	} {
		if b.SetFaults(f) == nil {
			t.Errorf("%s: %+v was taken", name, f)
		}
	}
}
