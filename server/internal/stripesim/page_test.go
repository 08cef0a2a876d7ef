package stripesim

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPageOffersEveryOutcomeAccessibly(t *testing.T) {
	b := newBench(t, Config{})
	link := *b.create().URL
	a := b.call("GET", link, nil, "Authorization", "", "Accept", "text/html")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, g := range errorGroups {
		for _, c := range g.codes {
			if !strings.Contains(a.body, `value="`+c.code+`"`) {
				t.Errorf("%s is not offered", c.code)
			}
		}
	}
	for _, want := range []string{`value="verified"`, `value="canceled"`, `<html lang="en">`, "Simulation.", "<legend>", `name="viewport"`,
		"prefers-color-scheme: dark", ":focus-visible", "curl -d outcome=document_expired " + link, "<title>Verify your identity (simulation)</title>"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if labels, inputs := strings.Count(a.body, "<label>"), strings.Count(a.body, "<input"); labels != 22 || inputs != 22 {
		t.Errorf("%d labels for %d inputs, want 22: 20 codes, verified and canceled", labels, inputs)
	}
	for header, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if a.header.Get(header) != want {
			t.Errorf("%s: %q", header, a.header.Get(header))
		}
	}
	if !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("no content security policy")
	}
}

func TestLinkWorksOnceByCurl(t *testing.T) {
	b := newBench(t, Config{})
	made := b.create()
	newer := *b.call("GET", sessionsPath+"/"+made.ID, nil).session(t).URL
	older := *made.URL

	if a := b.call("POST", older, url.Values{"outcome": {"documnet_expired"}}); a.status != 400 || !strings.Contains(a.body, "outcome=verified") {
		t.Fatalf("a typing error: %d %s", a.status, a.body)
	}
	a := b.call("POST", older, url.Values{"outcome": {"document_expired"}})
	if a.status != 303 || a.body != "Submitted: document_expired\n" || !strings.HasSuffix(a.header.Get("Location"), "/done") {
		t.Fatalf("%d %q %v", a.status, a.body, a.header)
	}
	if got := b.truth(made.ID); got.LastErrorCode != "document_expired" {
		t.Fatalf("%+v", got)
	}
	if done := b.call("GET", a.header.Get("Location"), nil, "Accept", "text/html"); done.status != 200 || !strings.Contains(done.body, "Thank you") {
		t.Fatalf("done page: %d", done.status)
	}
	for _, method := range []string{"GET", "POST"} {
		if again := b.call(method, older, url.Values{"outcome": {"verified"}}); again.status != 410 || !strings.Contains(again.body, "already used") {
			t.Fatalf("%s of a used link: %d %s", method, again.status, again.body)
		}
	}
	if page := b.call("GET", older, nil, "Accept", "text/html"); page.status != 410 || !strings.Contains(page.body, "<h1>This link was already used</h1>") {
		t.Fatalf("as a page: %d %s", page.status, page.body)
	}
	// Another unused link of the same session is still good, and works for the next attempt.
	if a := b.call("POST", newer, url.Values{"outcome": {"verified"}}); a.status != 303 {
		t.Fatalf("the newer link: %d %s", a.status, a.body)
	}
	if got := b.truth(made.ID); got.Status != statusVerified || got.Submissions != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestLinksThatAreRefused(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_790_000_000)
	b := newBench(t, Config{Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	sess := b.create()
	link := *sess.URL
	last := link[len(link)-1]
	forged := link[:len(link)-1] + string("01"[btoi(last == '0')])
	for name, tc := range map[string]struct {
		url  string
		want int
	}{
		"forged": {forged, 404}, "short": {b.url + "/verify/x", 404}, "not submitted yet": {link + "/done", 404},
	} {
		if a := b.call("GET", tc.url, nil); a.status != tc.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	clock.Add(int64(linkLife/time.Second) - 1)
	if a := b.call("GET", link, nil); a.status != 200 {
		t.Errorf("a second before its end: %d", a.status)
	}
	clock.Add(1)
	if a := b.call("POST", link, url.Values{"outcome": {"verified"}}); a.status != 410 || !strings.Contains(a.body, "expired") {
		t.Errorf("after 48 h: %d %s", a.status, a.body)
	}
	fresh := *b.call("GET", sessionsPath+"/"+sess.ID, nil).session(t).URL
	must(t, b.Cancel(sess.ID))
	if a := b.call("POST", fresh, url.Values{"outcome": {"verified"}}); a.status != 410 || !strings.Contains(a.body, "status is canceled") {
		t.Errorf("canceled: %d %s", a.status, a.body)
	}
	if got := b.truth(sess.ID); got.Submissions != 0 || got.Status != statusCanceled {
		t.Errorf("a refused link changed the session: %+v", got)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestPageReturnsToTheBusiness(t *testing.T) {
	b := newBench(t, Config{})
	for outcome, status := range map[string]string{"abandoned": statusRequiresInput, "canceled": statusCanceled} {
		sess := b.create("return_url", "https://shop.example/back?x=1")
		a := b.call("POST", *sess.URL, url.Values{"outcome": {outcome}})
		if a.status != 303 || a.header.Get("Location") != "https://shop.example/back?x=1" {
			t.Fatalf("%d %v", a.status, a.header)
		}
		if got := b.truth(sess.ID); got.Status != status || got.LastVerificationReport != "" {
			t.Fatalf("%s: %+v", outcome, got)
		}
	}
}

func TestOneLinkUsedByManyAtOnceCountsOnce(t *testing.T) {
	b := newBench(t, Config{})
	sess := b.create()
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if b.call("POST", *sess.URL, url.Values{"outcome": {"document_expired"}}).status == 303 {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if got := b.truth(sess.ID); taken.Load() != 1 || got.Submissions != 1 {
		t.Fatalf("%d taken, %+v", taken.Load(), got)
	}
}

func TestBaseURL(t *testing.T) {
	b := newBench(t, Config{BaseURL: "https://sim.example/"})
	if link := *b.create().URL; !strings.HasPrefix(link, "https://sim.example/verify/") {
		t.Fatal(link)
	}
}
