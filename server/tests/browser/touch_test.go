package browser

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var browserWait = flag.Bool("browser.wait", false, "let the page's own waits take their time, and print what a person reads after how long; else its clock is moved on")

// The texts of words.js that a page shows when it has lost touch.
const (
	reconnecting = "Reconnecting…"
	noServer     = "We can’t reach our server"
	noService    = "We can’t reach our verification service"
)

// touchRig is a page, everything behind it, and a browser.
type touchRig struct {
	*browser
	t       *testing.T
	stripe  *rig.FakeStripe
	service *rig.Process
	redis   *redistest.Server
	env     []string // of the service at the same addresses
	page    *pageServer
	line    *silentProxy
	since   time.Time
}

func newTouchRig(t *testing.T, program site) *touchRig {
	t.Helper()
	r := &touchRig{t: t, stripe: rig.StartFakeStripe(t)}
	redis := redistest.Start(t)
	r.redis = redis
	r.service = rig.Serve(t, r.stripe.Settings(redis.Addr))
	r.stripe.SendTo(r.service)
	r.env = r.stripe.Settings(redis.Addr, "GRPC_ADDR="+r.service.GRPC,
		"WEBHOOK_ADDR="+strings.TrimSuffix(strings.TrimPrefix(r.service.Webhook, "http://"), "/webhook"))
	r.page = newPageServer(t, program(t), r.service.GRPC, r.stripe.URL)
	r.line = newSilentProxy(t, strings.TrimPrefix(r.page.url, "http://"))
	r.page.url = r.line.url()
	r.page.env = append(r.page.env, "PUBLIC_URL="+r.page.url)
	r.browser = startBrowser(t)
	return r
}

// breaks makes the page lose touch. The times of its texts are measured from here.
func (r *touchRig) breaks(what string, step func()) {
	r.t.Helper()
	r.t.Log(what)
	step()
	r.since = time.Now()
}

// pass moves the page's clock forward.
func (r *touchRig) pass(d time.Duration) {
	r.t.Helper()
	if !*browserWait {
		r.do("pass", rig.Fields{"ms": d.Milliseconds()})
	}
}

// reads waits until each text is on the page, for 20 seconds at the most.
func (r *touchRig) reads(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		r.see(text)
		r.t.Logf("%q after %v", text, time.Since(r.since).Round(100*time.Millisecond))
	}
}

// readsNot fails if a text is on the page.
func (r *touchRig) readsNot(text string) {
	r.t.Helper()
	if all := r.text(); strings.Contains(all, text) {
		r.t.Errorf("%q is on the page: %s", text, all)
	}
}

func (b *browser) text() string {
	b.t.Helper()
	var text string
	if err := json.Unmarshal([]byte(b.do("text", nil)), &text); err != nil {
		b.t.Fatal(err)
	}
	return text
}

// touchGrace is how long the page waits until a stream that ended counts as lost, patience how long until it says in
// words that it is not live, silence how long until it gives a stream up that says nothing.
const (
	touchGrace = 4 * time.Second
	patience   = 8 * time.Second
	silence    = 17 * time.Second
)

// TestG18_ThePageSaysThatItLostTouch: whichever part between a person and the service breaks, the page does not call its
// contents live. It says so in words, and continues by itself.
func TestG18_ThePageSaysThatItLostTouch(t *testing.T) { withEachSite(t, pageLosesTouch) }

func pageLosesTouch(t *testing.T, program site) {
	r := newTouchRig(t, program)

	r.breaks("the service is dead before a new person's page is loaded", r.service.Kill)
	r.page.start()
	r.do("open", rig.Fields{"url": r.page.url})
	r.reads("Verify your identity", reconnecting)
	r.readsNot("Live")
	r.pass(patience)
	r.reads(noService)
	r.inspect("service-dead-before-load")
	r.page.running.Await("the page's server logs that it cannot reach the service", func() bool {
		return strings.Contains(strings.ToLower(r.page.running.Stderr.String()), "refused")
	})
	r.breaks("the service is back", func() { r.service = rig.Serve(t, r.env) })
	r.pass(10 * time.Second) // until the page asks again
	r.reads("Live")
	r.readsNot(noService)

	r.press("Start verification")
	r.see("Simulation.")
	r.stripe.CatchUp()
	r.stripe.Tick()
	r.choose("document_expired")
	r.see("We’re checking your document", "Live")

	r.breaks("the service dies under the page", r.service.Kill)
	r.reads(reconnecting)
	r.readsNot("Live")
	r.pass(patience)
	r.reads(noService, "We’re checking your document")
	r.inspect("service-dead-after-load")

	r.breaks("the page is loaded while the service is dead", func() { r.do("open", rig.Fields{"url": r.page.url}) })
	r.reads(reconnecting)
	r.pass(patience)
	r.reads("This takes longer than it should", "Try again now")
	if said := r.do("connections", nil); strings.Contains(said, "live") {
		r.t.Errorf("the page was %s; want live never", said)
	}
	r.inspect("service-dead-reload")
	r.press("Try again now") // in vain
	r.breaks("the service is back", func() { r.service = rig.Serve(t, r.env) })
	r.reads("We’re checking your document", "Live")

	r.breaks("the page's server dies", func() { r.page.running.Kill() })
	r.pass(touchGrace)
	r.reads(reconnecting)
	r.pass(patience)
	r.reads(noServer)
	r.inspect("bff-dead")
	r.breaks("the page's server is back", r.page.start)
	r.pass(3 * time.Second)
	r.reads("Live")
	r.readsNot(noServer)

	r.breaks("the network changes", func() { r.offline(true) })
	r.reads(reconnecting, "You are offline")
	r.breaks("there is another network", func() { r.offline(false) })
	r.reads("Live")
	r.do("pass", rig.Fields{"ms": patience.Milliseconds()}) // nothing is said late
	r.readsNot("You are offline")
	r.readsNot(noServer)
	r.offline(true)
	r.see("You are offline")
	r.inspect("offline")
	r.offline(false)
	r.see("Live")

	if *browserWait { // the service's own waits cannot be moved on
		r.breaks("Redis falls silent behind the service", r.redis.Pause)
		r.reads(reconnecting, noService)
		r.inspect("redis-silent")
		r.breaks("Redis is back", r.redis.Resume)
		r.reads("Live")
	}

	finish := func() { r.stripe.CatchUp(); r.stripe.Do(r.stripe.FinishProcessing, r.stripe.Sessions()[0].ID) }
	r.breaks("the connection falls silent", func() { r.line.fallSilent(); finish() })
	r.pass(silence)
	r.reads("That didn’t work", "Live")

	r.press("Try again")
	r.see("Simulation.")
	r.stripe.CatchUp()
	r.stripe.Tick()
	r.choose("document_unverified_other")
	r.see("We’re checking your document", "Live")
	r.do("freeze", nil)
	r.breaks("the tab is frozen, and its connection dies meanwhile", func() { r.line.fallSilent(); finish() })
	r.breaks("the tab is thawed", func() { r.do("thaw", rig.Fields{"event": "resume"}) })
	r.reads("We could not verify your document.", "Live")
	if took := time.Since(r.since); took > silence/2 {
		t.Errorf("the tab is right %v after it was thawed; want it at once", took)
	}
	if problems := r.do("problems", nil); problems != "[]" {
		t.Errorf("the browser complains: %s", problems)
	}
}
