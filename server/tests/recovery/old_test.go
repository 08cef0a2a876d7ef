package recovery

import (
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// TestG11_ABackupThatIsOlderThanStripesEvents: Stripe lists events for 30 days, and makes none of a redaction while no endpoint asks for them.
// So the catch-up alone leaves people readable that were redacted, and the comparison of step 5 erases them.
func TestG11_ABackupThatIsOlderThanStripesEvents(t *testing.T) {
	t.Parallel()           // it mostly waits
	var clock atomic.Int64 // Stripe's, in Unix seconds
	daysAgo := func(days int) { clock.Store(time.Now().AddDate(0, 0, -days).Unix()) }
	daysAgo(41)
	stripe := rig.StartFakeStripe(t, func(c *stripesim.Config) {
		c.Now, c.Delivery.MaxAttempts = func() time.Time { return time.Unix(clock.Load(), 0) }, 1
	})
	silence(stripe)
	i := install(t, stripe)
	come := func(name string) *person {
		t.Helper()
		p := i.come(name)
		i.submit(p, "verified")
		return p
	}
	kept, old, recent, silent := come("kept"), come("old"), come("recent"), come("silent")
	catchUp := func() {
		t.Helper()
		i.command("catch-up")
	}
	catchUp()
	i.backup()

	daysAgo(40)
	i.redact(old)
	daysAgo(1)
	i.redact(recent)
	if err := stripe.SetEndpoints(); err != nil {
		t.Fatal(err)
	}
	i.redact(silent)
	daysAgo(0)
	i.loseDisk()
	i.run("restore")
	i.run("aof")
	catchUp()
	for name, want := range map[*person]bool{recent: false, old: true, silent: true, kept: true} {
		if held := holds("Redis", i.dump(), []*person{name}) != ""; held != want {
			t.Errorf("after the catch-up, Redis holds %s: %v, want %v", name.reference, held, want)
		}
	}
	t.Log(i.command("compare"))
	i.start()
	if where := i.readable([]*person{old, recent, silent}); where != "" {
		t.Error(where)
	}
	if holds("Redis", i.dump(), []*person{kept}) == "" {
		t.Error("the person who was not redacted is gone too")
	}
}
