package stripesim

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPageIsAccessibleAndLoadsNothing(t *testing.T) {
	b := newBench(t, Config{})
	link := *b.create().URL
	a := b.call("GET", link, nil, "Authorization", "", "Accept", "text/html")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, want := range []string{`<html lang="en">`, "Simulation.", "<legend>", `name="viewport"`,
		"prefers-color-scheme: dark", ":focus-visible", "curl -d outcome=document_expired " + link, "<title>Verify your identity (simulation)</title>"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for header, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if a.header.Get(header) != want {
			t.Errorf("%s: %q", header, a.header.Get(header))
		}
	}
	checkPolicy(t, a)
	checkPolicy(t, b.call("GET", "/", nil))
}

// checkPolicy wants a page that can run no script and load nothing, with the one style sheet that is allowed.
func checkPolicy(t *testing.T, page answer) {
	t.Helper()
	policy := page.header.Get("Content-Security-Policy")
	_, rest, _ := strings.Cut(page.body, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; style == "" || !strings.Contains(policy, want) {
		t.Errorf("the policy %q does not allow the page's style; want %s", policy, want)
	}
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(page.body, "<script") {
		t.Errorf("the page may do more than show itself: %q", policy)
	}
}

var choiceButton = regexp.MustCompile(`<button name="outcome" value="([a-z_]+)"`)

// offeredOn returns the outcomes that a page has buttons for, in their order.
func offeredOn(page string) (outcomes []string) {
	for _, found := range choiceButton.FindAllStringSubmatch(page, -1) {
		outcomes = append(outcomes, found[1])
	}
	return outcomes
}

// The pages offer what Stripe can produce for the session's type and options, the commonest first.
func TestPageOffersWhatTheSessionCanHave(t *testing.T) {
	b := newBench(t, Config{})
	session := []string{"abandoned", "canceled", "consent_declined", "country_not_supported", "under_supported_age", "verified"}
	with := func(more ...string) []string { return slices.Sorted(slices.Values(append(more, session...))) }
	document := []string{"device_not_supported", "document_expired", "document_type_not_supported", "document_unverified_other"}
	selfie := []string{"selfie_document_missing_photo", "selfie_face_mismatch", "selfie_manipulated", "selfie_unverified_other"}
	number := []string{"id_number_mismatch", "id_number_unverified_other"}
	contact := []string{"email_unverified_other", "email_verification_declined", "phone_unverified_other", "phone_verification_declined"}
	all := slices.Concat(document, selfie, number, contact, []string{"id_number_insufficient_document_data", "address_mismatch"})
	for _, test := range []struct {
		name   string
		params []string
		shown  ShownOptions
		first  []string
		want   []string
	}{
		{"document", []string{"type", "document"}, ShownOptions{}, []string{"document_expired", "document_unverified_other", "under_supported_age"}, with(document...)},
		{"document with selfie", []string{"type", "document", "options[document][require_matching_selfie]", "true"}, ShownOptions{},
			[]string{"document_expired", "selfie_face_mismatch", "document_unverified_other"}, with(slices.Concat(document, selfie)...)},
		{"document without selfie", []string{"type", "document", "options[document][require_matching_selfie]", "false"}, ShownOptions{},
			[]string{"document_expired", "document_unverified_other", "under_supported_age"}, with(document...)},
		{"document with ID number", []string{"type", "document", "options[document][require_id_number]", "true"}, ShownOptions{},
			[]string{"document_expired", "id_number_mismatch", "document_unverified_other"},
			with(slices.Concat(document, number, []string{"id_number_insufficient_document_data"})...)},
		{"ID number", []string{"type", "id_number"}, ShownOptions{}, []string{"id_number_mismatch", "under_supported_age", "consent_declined"}, with(number...)},
		{"ID number with codes by mail and phone",
			[]string{"type", "id_number"}, ShownOptions{Email: true, Phone: true},
			[]string{"id_number_mismatch", "under_supported_age", "consent_declined"}, with(slices.Concat(number, contact)...)},
		{"a flow", []string{"type", "", "verification_flow", "vf_1"}, ShownOptions{}, []string{"document_expired", "selfie_face_mismatch", "id_number_mismatch"}, with(all...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := b.create(test.params...)
			must(t, b.ShowOptions(made.ID, test.shown))
			hosted := offeredOn(b.call("GET", *made.URL, nil).body)
			if len(hosted) < 4 || hosted[0] != "verified" || !slices.Equal(hosted[1:4], test.first) {
				t.Errorf("got %v first; want verified and %v", hosted[:min(4, len(hosted))], test.first)
			}
			if got := slices.Sorted(slices.Values(hosted)); !slices.Equal(got, test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
			_, section, _ := strings.Cut(b.call("GET", "/", nil).body, `id="`+made.ID+`"`)
			section, _, _ = strings.Cut(section, "</section>")
			if got := offeredOn(section); !slices.Equal(got, hosted) {
				t.Errorf("the index offers %v; the hosted page %v", got, hosted)
			}
		})
	}
}

// A script may post any documented code to any session: it tests its own handling of the code.
func TestEveryOutcomeCanBePosted(t *testing.T) {
	b := newBench(t, Config{})
	outcomes := []string{OutcomeVerified, OutcomeCanceled}
	for _, g := range errorGroups {
		for _, c := range g.codes {
			outcomes = append(outcomes, c.code)
		}
	}
	for _, outcome := range outcomes {
		made := b.create()
		if a := b.call("POST", *made.URL, url.Values{"outcome": {outcome}}); a.status != 303 || a.body != "Submitted: "+outcome+"\n" {
			t.Errorf("%s: %d %q", outcome, a.status, a.body)
		}
		got := b.truth(made.ID)
		if want := outcome; got.LastErrorCode != want && got.Status != want {
			t.Errorf("%s: %+v", outcome, got)
		}
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

// A person whose link cannot be used finds the way back to the site that sent them.
func TestRefusedLinksLeadBack(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_790_000_000)
	b := newBench(t, Config{Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	const home, back = "https://shop.example/back?x=1&y=2", `href="https://shop.example/back?x=1&amp;y=2">Back to the site</a>`
	page := func(link string) string { return b.call("GET", link, nil, "Accept", "text/html").body }
	used, late, closed, homeless := b.create("return_url", home), b.create("return_url", home), b.create("return_url", home), b.create()
	b.call("POST", *used.URL, url.Values{"outcome": {"document_expired"}})
	b.call("POST", *homeless.URL, url.Values{"outcome": {"document_expired"}})
	must(t, b.Cancel(closed.ID))
	misspelt := (*late.URL)[:len(*late.URL)-1]
	for name, link := range map[string]string{"used": *used.URL, "closed": *closed.URL, "misspelt": misspelt} {
		if got := page(link); !strings.Contains(got, back) {
			t.Errorf("%s: the page has no way back: %s", name, got)
		}
	}
	clock.Add(int64(linkLife / time.Second))
	if got := page(*late.URL); !strings.Contains(got, "expired") || !strings.Contains(got, back) {
		t.Errorf("expired: the page has no way back: %s", got)
	}
	for name, link := range map[string]string{"of a session without return_url": *homeless.URL, "of nobody": b.url + "/verify/x"} {
		if got := page(link); strings.Contains(got, "Back to the site") {
			t.Errorf("%s: the page leads nowhere: %s", name, got)
		}
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
