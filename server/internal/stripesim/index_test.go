package stripesim

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestIndexShowsTheSessions(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: OnDemand})
	if a := b.call("GET", "/", nil); a.status != 200 || !strings.Contains(a.body, "There is no session yet") || strings.Contains(a.body, testKey) {
		t.Fatalf("without a session: %d %s", a.status, a.body)
	}
	made := b.create("client_reference_id", "user-<42>")
	page := b.call("GET", "/", nil).body
	for _, want := range []string{made.ID, "user-&lt;42&gt;", `<span class="status requires_input">requires input</span>`, "document · less than a minute old",
		`action="/sessions/` + made.ID + `"`, b.url + "/verify/"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q: %s", want, page)
		}
	}
	if strings.Contains(page, `http-equiv="refresh"`) {
		t.Error("the page reloads although nothing changes by itself: an open group of outcomes closes")
	}

	a := b.call("POST", "/sessions/"+made.ID, url.Values{"outcome": {"document_expired"}})
	if a.status != 303 || a.header.Get("Location") != "/#"+made.ID || a.body != "Submitted: document_expired\n" {
		t.Fatalf("%d %q %v", a.status, a.body, a.header)
	}
	if page = b.call("GET", "/", nil).body; !strings.Contains(page, `<span class="status processing">`) || !strings.Contains(page, `<meta http-equiv="refresh" content="2; url=/">`) ||
		len(offeredOn(page)) != 0 {
		t.Errorf("while it is processed: %s", page)
	}
	must(t, b.FinishProcessing(made.ID))
	if page = b.call("GET", "/", nil).body; !strings.Contains(page, "The document is expired. (document_expired)") || !strings.Contains(page, "submissions: 1") {
		t.Errorf("after a failure: %s", page)
	}
	must(t, b.Submit(made.ID, OutcomeVerified))
	must(t, b.FinishProcessing(made.ID))
	if page = b.call("GET", "/", nil).body; !strings.Contains(page, `<span class="status verified">`) || len(offeredOn(page)) != 0 || strings.Contains(page, "/verify/") {
		t.Errorf("verified: %s", page)
	}
}

func TestIndexRefusesWhatCannotBe(t *testing.T) {
	b := newBench(t, Config{})
	made := b.create()
	for name, test := range map[string]struct {
		id, outcome string
		want        int
		says        string
	}{
		"a typing error":     {made.ID, "verifed", 400, "outcome=verified"},
		"nothing":            {made.ID, "", 400, "outcome=verified"},
		"an unknown session": {"vs_nobody", "verified", 404, "No such verification session"},
	} {
		if a := b.call("POST", "/sessions/"+test.id, url.Values{"outcome": {test.outcome}}); a.status != test.want || !strings.Contains(a.body, test.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	must(t, b.Submit(made.ID, OutcomeVerified))
	if a := b.call("POST", "/sessions/"+made.ID, url.Values{"outcome": {"canceled"}}); a.status != 409 || !strings.Contains(a.body, "status of \"verified\"") {
		t.Errorf("of a verified session: %d %s", a.status, a.body)
	}
	if got := b.truth(made.ID); got.Status != statusVerified || got.Submissions != 1 {
		t.Errorf("a refused choice changed the session: %+v", got)
	}
}

func TestIndexIsBounded(t *testing.T) {
	b := newBench(t, Config{})
	for n := range maxIndex + 3 {
		b.create("client_reference_id", fmt.Sprint("person-", n))
	}
	page := b.call("GET", "/", nil).body
	if got := strings.Count(page, "<section"); got != maxIndex || !strings.Contains(page, "3 older sessions are not shown") {
		t.Errorf("got %d sessions; want %d and a word on 3 more", got, maxIndex)
	}
	if strings.Index(page, "person-52") > strings.Index(page, "person-51") || strings.Contains(page, "person-2<") {
		t.Error("the newest sessions do not come first")
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "less than a minute old", 59 * time.Second: "less than a minute old", 60 * time.Second: "1 min old",
		119 * time.Minute: "119 min old", 2 * time.Hour: "2 h old", 100 * time.Hour: "100 h old",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

// A page of another site in the developer's browser must change nothing here, and a name of another site
// that leads to this machine must not even read. Programs send no Origin, and are served.
func TestOtherSitesAreRefused(t *testing.T) {
	b := newBench(t, Config{BaseURL: "https://sim.example"})
	made := b.create()
	link := b.url + strings.TrimPrefix(*made.URL, "https://sim.example")
	host := strings.TrimPrefix(b.url, "http://")
	form := url.Values{"outcome": {"verified"}}
	for name, headers := range map[string][]string{
		"another site's form":           {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another port's form":           {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:8080"},
		"an older browser's":            {"Origin", "https://evil.example"},
		"a sandboxed frame's":           {"Origin", "null"},
		"a form without the right host": {"Host", "evil.example", "Origin", "http://evil.example"},
	} {
		for _, target := range []string{b.url + "/sessions/" + made.ID, link, b.url + sessionsPath + "/" + made.ID + "/cancel"} {
			if a := b.call("POST", target, form, headers...); a.status != 403 {
				t.Errorf("%s to %s: got %d, want 403: %s", name, target, a.status, a.body)
			}
		}
	}
	for _, host := range []string{"evil.example", "evil.example:12111", "127.0.0.1.evil.example", "localhost.evil.example", "sim.example.evil.example"} {
		for _, path := range []string{"/", "/verify/x", sessionsPath} {
			if a := b.call("GET", b.url+path, nil, "Host", host); a.status != 403 || strings.Contains(a.body, made.ID) {
				t.Errorf("GET %s of %s: got %d, want 403: %s", path, host, a.status, a.body)
			}
		}
	}
	if got := b.truth(made.ID); got.Status != statusRequiresInput || got.Submissions != 0 {
		t.Fatalf("another site changed the session: %+v", got)
	}
	for _, host := range []string{host, "localhost", "LOCALHOST:1", "localhost.", "[::1]:12111", "sim.example", "192.0.2.7:80"} {
		if a := b.call("GET", b.url+"/", nil, "Host", host); a.status != 200 {
			t.Errorf("GET / of %s: got %d, want 200", host, a.status)
		}
	}
	for name, headers := range map[string][]string{
		"its own form":                  {"Sec-Fetch-Site", "same-origin", "Origin", "null"}, // no referrer: no Origin
		"an older browser's, its own":   {"Origin", b.url},
		"a program's, without a header": nil,
	} {
		made := b.create()
		if a := b.call("POST", b.url+"/sessions/"+made.ID, form, headers...); a.status != 303 {
			t.Errorf("%s: got %d, want 303: %s", name, a.status, a.body)
		}
	}
}

// Without it a shell's prompt sticks to the last brace.
func TestAnswersEndWithANewline(t *testing.T) {
	b := newBench(t, Config{})
	made := b.create()
	for name, a := range map[string]answer{
		"a session": b.call("GET", sessionsPath+"/"+made.ID, nil), "a list": b.call("GET", sessionsPath, nil),
		"an error": b.call("GET", sessionsPath+"/vs_nobody", nil), "an unknown route": b.call("GET", "/v1/nothing", nil),
		"no key": b.call("GET", sessionsPath, nil, "Authorization", ""),
	} {
		if !strings.HasSuffix(a.body, "}\n") {
			t.Errorf("%s: %q", name, a.body)
		}
	}
}
