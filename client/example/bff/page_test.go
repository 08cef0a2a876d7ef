package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// sites are one without TLS and one with it.
func sites(t *testing.T) map[string]*site {
	t.Helper()
	all := make(map[string]*site)
	for _, at := range []string{"http://127.0.0.1:8080", "https://verify.example.com"} {
		s, err := newSite(nil, settings{publicURL: at, cookieKey: []byte(cookieKey)})
		if err != nil {
			t.Fatal(err)
		}
		all[at] = s
	}
	return all
}

// visit loads the page with this Cookie header.
func (s *site) visit(cookie string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, s.publicURL+"/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	rec := httptest.NewRecorder()
	s.handler().ServeHTTP(rec, r)
	return rec.Result()
}

// TestCookie: a browser without a valid cookie becomes a new person. A browser with one stays the same person.
func TestCookie(t *testing.T) {
	for at, s := range sites(t) {
		secure, name := s.people.secure, s.people.cookieName()
		if want := map[bool]string{true: "__Host-person", false: "person"}[secure]; name != want {
			t.Errorf("%s: the cookie is %s; want %s", at, name, want)
		}
		set := s.visit("").Cookies()
		if len(set) != 1 || set[0].Name != name || !set[0].HttpOnly || set[0].Secure != secure || set[0].SameSite != http.SameSiteLaxMode || set[0].Domain != "" || set[0].Path != "/" {
			t.Fatalf("%s: cookies %v", at, set)
		}
		good := set[0].Value
		if again := s.visit(name + "=" + good).Cookies(); len(again) != 0 {
			t.Errorf("%s: a known person becomes another one: %v", at, again)
		}
		another := s.visit("").Cookies()[0].Value
		id, rest, _ := strings.Cut(good, ".")
		parts := strings.Split(rest, ".")
		issued, mac := parts[0], parts[2]
		for what, cookie := range map[string]string{
			"made up":                name + "=" + id,
			"of the old form":        name + "=" + strings.Repeat("A", 26),
			"with another's MAC":     name + "=" + id + "." + another[27:],
			"begun, unsigned":        name + "=" + id + "." + issued + ".1700000000." + mac,
			"issued later, unsigned": name + "=" + id + ".9999999999.0." + mac,
			"of the form before":     name + "=" + id + ".0." + mac,
			"without a MAC":          name + "=" + id + "." + issued + ".0.",
			"with more":              name + "=" + good + "A",
			"in lower case":          name + "=" + strings.ToLower(id) + "." + rest,
			"beside a planted one":   name + "=" + another + "; " + name + "=" + good,
			"twice":                  name + "=" + good + "; " + name + "=" + good,
			"under the other's name": map[bool]string{true: "person=", false: "__Host-person="}[secure] + good,
		} {
			got := s.visit(cookie).Cookies()
			if len(got) != 1 || strings.HasPrefix(got[0].Value, id) {
				t.Errorf("%s: with a cookie %s: %v; want a new person", at, what, got)
			}
		}
		other, err := newSite(nil, settings{publicURL: at, cookieKey: []byte(strings.Repeat("x", 32))})
		if err != nil {
			t.Fatal(err)
		}
		if got := other.visit(name + "=" + good).Cookies(); len(got) != 1 {
			t.Errorf("%s: a cookie of another key counts", at)
		}
	}
}

// TestBegunIsSigned: the time at which a person began is signed, and a later cookie is valid too.
func TestBegunIsSigned(t *testing.T) {
	for at, s := range sites(t) {
		want := person{id: strings.Repeat("B", 26), issued: time.Unix(time.Now().Unix(), 0), begun: time.Unix(1_700_000_000, 0)}
		for _, want.begun = range []time.Time{{}, want.begun} {
			rec := httptest.NewRecorder()
			s.people.issue(rec, want)
			r := httptest.NewRequest(http.MethodGet, at, nil)
			r.AddCookie(rec.Result().Cookies()[0])
			if got, ok := s.people.who(r); !ok || got != want {
				t.Errorf("%s: got %v, %v; want %v", at, got, ok, want)
			}
		}
	}
}

// TestHSTS: the setting decides, not a header of a visitor.
func TestHSTS(t *testing.T) {
	for at, s := range sites(t) {
		r := httptest.NewRequest(http.MethodGet, at+"/", nil)
		r.Header.Set("X-Forwarded-Proto", map[bool]string{true: "http", false: "https"}[s.people.secure])
		rec := httptest.NewRecorder()
		s.handler().ServeHTTP(rec, r)
		if got := rec.Header().Get("Strict-Transport-Security"); (got != "") != s.people.secure {
			t.Errorf("%s: Strict-Transport-Security is %q", at, got)
		}
	}
}

// TestAddress: an address that a browser can make up is not used. If a proxy hides the address, there is none.
func TestAddress(t *testing.T) {
	for _, test := range []struct {
		secure             bool
		header, peer, sent string
		want               string
	}{
		{false, "", "192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{false, "", "[2001:db8:1:2:3::4]:5", "", "2001:db8:1:2::/64"},
		{false, "", "[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		{true, "", "192.0.2.1:5", "198.51.100.7", ""},
		{true, "X-Forwarded-For", "192.0.2.1:5", "203.0.113.9, 198.51.100.7", "198.51.100.7"},
		{true, "X-Forwarded-For", "192.0.2.1:5", "unknown", "192.0.2.1"},
		{true, "X-Forwarded-For", "192.0.2.1:5", "", "192.0.2.1"},
		{true, "X-Forwarded-For", "192.0.2.1:5", "203.0.113.9:80, 198.51.100.7:4711", "198.51.100.7"},
		{true, "X-Forwarded-For", "192.0.2.1:5", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"},
		{true, "X-Forwarded-For", "192.0.2.1:5", "[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"},
	} {
		s := &site{addressHeader: test.header, people: people{secure: test.secure}}
		r := httptest.NewRequest(http.MethodGet, "/events", nil)
		r.RemoteAddr = test.peer
		r.Header.Set("X-Forwarded-For", test.sent)
		if got := s.address(r); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

// TestSlowRequestsAreCut: a request whose body never arrives is ended soon.
func TestSlowRequestsAreCut(t *testing.T) {
	server := newServer(sites(t)["http://127.0.0.1:8080"])
	if server.ReadTimeout <= 0 || server.ReadTimeout > 10*time.Second || server.ReadHeaderTimeout <= 0 || server.WriteTimeout <= 0 || server.ConnContext == nil {
		t.Errorf("the limits are %v, %v, %v", server.ReadTimeout, server.ReadHeaderTimeout, server.WriteTimeout)
	}
}

// TestHeaders: every answer has them. The page works with them: it has no inline script or style.
func TestHeaders(t *testing.T) {
	w := newRig(t)
	for _, path := range []string{"/", "/app.js", "/style.css", "/noscript.css", "/missing", "/events"} {
		response, body := w.visitor().ask(http.MethodGet, path)
		csp := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, response.Header)
		}
		if inline := regexp.MustCompile(`<script>|<style|\s(style|on\w+)="|javascript:`).FindString(body); inline != "" {
			t.Errorf("%s has %q", path, inline)
		}
	}
}

// TestOneAddress: cookies and the return from Stripe work at one address only, so others redirect to it.
func TestOneAddress(t *testing.T) {
	s := sites(t)["http://127.0.0.1:8080"]
	for path, want := range map[string]int{"/": http.StatusTemporaryRedirect, "/events": http.StatusMisdirectedRequest} {
		rec := httptest.NewRecorder()
		s.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://localhost:8080"+path, nil))
		if location := rec.Header().Get("Location"); rec.Code != want || path == "/" && location != "http://127.0.0.1:8080/" || len(rec.Result().Cookies()) > 0 {
			t.Errorf("%s: %d to %q", path, rec.Code, location)
		}
	}
}

func TestSettings(t *testing.T) {
	for args, problem := range map[string]string{
		"": "",
		"-addr 127.0.0.1:1 -stripe-api-base https://api.stripe.com": "",
		"-stripe-api-base http://api.stripe.com":                    "-stripe-api-base http://api.stripe.com: use https://",
		"-addr 10.0.0.1:80":                                         "-public-url http://10.0.0.1:80: use https://",
		"-public-url https://a.example/page":                        "a scheme and a host only",
		"-public-url a.example":                                     "a scheme and a host only",
	} {
		s, err := readSettings(strings.Fields(args), func(name string) string { return map[string]string{"VERIFICATION_STATUS": "dns:///status:1"}[name] })
		if problem == "" && (err != nil || !s.generatedKey || len(s.cookieKey) < minCookieKey || s.target != "dns:///status:1" || s.stripe.key != "sk_test_simulated" || s.publicURL != "http://"+s.addr) {
			t.Errorf("%q: %+v, %v", args, s, err)
		}
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v; want %q", args, err, problem)
		}
	}
}

// TestSecrets: they come from a variable or a file, never both. A key that can be guessed is refused.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(cookieKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for problem, env := range map[string]map[string]string{
		"":              {"BFF_COOKIE_KEY_FILE": file},
		"has 5 char":    {"BFF_COOKIE_KEY": "short"},
		"both set":      {"BFF_COOKIE_KEY": cookieKey, "BFF_COOKIE_KEY_FILE": file},
		"no such file":  {"BFF_COOKIE_KEY_FILE": file + "x"},
		"STRIPE_API_KE": {"STRIPE_API_KEY": "sk_test_1", "STRIPE_API_KEY_FILE": file},
	} {
		s, err := readSettings(nil, func(name string) string { return env[name] })
		if problem == "" && (err != nil || string(s.cookieKey) != cookieKey || s.generatedKey) {
			t.Errorf("a file: %q, %v", s.cookieKey, err)
		}
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), cookieKey)) {
			t.Errorf("%v; want %q", err, problem)
		}
	}
}

// TestRunEnds: a stop ends the streams and does not wait until browsers leave.
func TestRunEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	s, err := readSettings([]string{"-addr", addr, "-status", "127.0.0.1:1"}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, s) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var response *http.Response
	for deadline := time.Now().Add(20 * time.Second); ; {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.publicURL+"/events", nil)
		recorder := httptest.NewRecorder()
		(&people{key: s.cookieKey}).renew(recorder, person{id: strings.Repeat("A", 26), begun: time.Now()})
		request.AddCookie(recorder.Result().Cookies()[0])
		if response, err = transport.RoundTrip(request); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("a stream: %s", response.Status)
	}
	cancel()
	if err := <-ended; err != nil { // it has a limit of its own
		t.Errorf("the site ended with %v", err)
	}
}

// TestAStopLetsALinkFinish, and ends the streams at once: otherwise the person would have a session and no link to it.
func TestAStopLetsALinkFinish(t *testing.T) {
	w := newRig(t)
	w.asked, w.answers = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	await := func(what string, done <-chan struct{}) {
		t.Helper()
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatal(what)
		}
	}
	in := func(f func()) <-chan struct{} {
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		return done
	}
	ada, bob := w.visitor(), w.visitor()
	ada.ask(http.MethodGet, "/")
	ada.changeCookie(func(who *person) {
		who.begun = time.Now()
		w.backend.Set(session(who.reference(), verificationv1.Status_STATUS_PROCESSING))
	})
	bob.ask(http.MethodGet, "/")
	streamed := in(func() { ada.ask(http.MethodGet, "/events") })
	if err := w.backend.AwaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	linked := in(func() { bob.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"}) })
	await("Stripe is not asked", w.asked)
	var stopped error
	down := in(func() { stopped = w.web.Config.Shutdown(ctx) })
	await("the stream does not end", streamed)
	select {
	case <-linked:
		t.Error("the link ends before Stripe answers")
	default:
	}
	close(w.answers)
	await("the link does not end", linked)
	if await("the server does not stop", down); stopped != nil {
		t.Errorf("the server stops with %v", stopped)
	}
}

// TestWords: in each language the page has words for every status, failure and denial of the contract, addresses the person, and
// always names something to do or to wait for.
func TestWords(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed: apt-get install nodejs, then go test -count=1")
		}
		t.Skip("node is not installed: apt-get install nodejs, then go test -count=1")
	}
	type fields = map[string]any
	refused := func(code string, retry fields) fields {
		return fields{"status": "STATUS_REQUIRES_INPUT", "lastError": fields{"code": code, "reason": "The person is refused."}, "retry": retry}
	}
	cases := map[string]any{
		"Verify your identity":         nil,
		"Go on where you left off":     fields{"status": "STATUS_REQUIRES_INPUT", "retry": fields{"allowed": true}},
		"We’re checking your document": fields{"status": "STATUS_PROCESSING"},
		"You’re verified":              fields{"status": "STATUS_VERIFIED", "updateTime": "2026-01-02T03:04:05Z", "settled": true},
		"This check was closed":        fields{"status": "STATUS_CANCELED", "retry": fields{"denial": "RETRY_DENIAL_CANCELED", "retriesRemaining": 1}},
		"closed for good":              fields{"status": "STATUS_CANCELED", "retry": fields{"denial": "RETRY_DENIAL_CANCELED"}},
		"That didn’t work":             refused("ERROR_CODE_DOCUMENT_EXPIRED", fields{"allowed": true, "retriesRemaining": 1}),
		"We couldn’t verify you":       refused("ERROR_CODE_DOCUMENT_EXPIRED", fields{"denial": "RETRY_DENIAL_LIMIT_REACHED"}),
		"You can try once more":        refused("ERROR_CODE_UNDER_SUPPORTED_AGE", fields{"allowed": true, "overrideOpen": true}),
		"closed and allowed":           fields{"status": "STATUS_CANCELED", "retry": fields{"denial": "RETRY_DENIAL_CANCELED", "overrideOpen": true}},
	}
	resolved := func(status fields, kind string) fields {
		status["resolution"] = fields{"kind": kind}
		return status
	}
	for number, kind := range verificationv1.ResolutionKind_name {
		if number == 0 {
			continue
		}
		cases["resolved "+kind] = resolved(refused("ERROR_CODE_DOCUMENT_EXPIRED", fields{"denial": "RETRY_DENIAL_RESOLVED"}), kind)
		cases["resolved and closed "+kind] = resolved(fields{"status": "STATUS_CANCELED", "retry": fields{"denial": "RETRY_DENIAL_CANCELED", "retriesRemaining": 1}}, kind)
		cases["resolved and verified "+kind] = resolved(fields{"status": "STATUS_VERIFIED", "updateTime": "2026-01-02T03:04:05Z"}, kind)
	}
	cases["resolved RESOLUTION_KIND_TO_COME"] = resolved(fields{"status": "STATUS_PROCESSING"}, "RESOLUTION_KIND_TO_COME")
	for _, denial := range verificationv1.RetryDenial_name {
		cases["denied "+denial] = refused("ERROR_CODE_DOCUMENT_EXPIRED", fields{"denial": denial, "nextRetryTime": "2026-01-02T03:04:05Z"})
	}
	for _, code := range verificationv1.ErrorCode_name {
		cases["failed "+code] = refused(code, fields{"allowed": true, "retriesRemaining": 2})
		cases["last "+code] = refused(code, fields{"denial": "RETRY_DENIAL_NOT_RETRYABLE"})
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	script := `import { choose, tables, wordsFor } from "./static/words.js";
		const cases = Object.entries(JSON.parse(process.argv[1]));
		const keys = (o) => Object.entries(o).flatMap(([k, v]) => typeof v === "object" ? keys(v).map((rest) => k + "." + rest) : [k]).sort();
		const of = (t) => ({ said: Object.fromEntries(cases.map(([name, status]) => [name, wordsFor(status, t)])), refusals: t.refusals, keys: keys(t) });
		console.log(JSON.stringify({
			tables: Object.fromEntries(Object.entries(tables).map(([language, t]) => [language, of(t)])),
			chosen: [["de-AT", "en"], ["fr", "de"], ["fr"], [], undefined, ["EN-us", "de"]].map((list) => choose(list).language),
		}));`
	out, err := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", script, string(input)).Output()
	if err != nil {
		t.Fatal(err)
	}
	type said struct {
		Title, Text, State, Button, Note string
		Fact                             struct{ Text string }
		Call                             bool
	}
	var words struct {
		Tables map[string]struct {
			Said     map[string]said
			Refusals map[string]string
			Keys     []string
		}
		Chosen []string
	}
	if err := json.Unmarshal(out, &words); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "undefined") {
		t.Errorf("the words have a hole: %s", out)
	}
	if want := []string{"de-AT", "de", "en", "en", "en", "EN-us"}; !slices.Equal(words.Chosen, want) {
		t.Errorf("chosen %v; want %v", words.Chosen, want)
	}
	if len(words.Tables) < 2 {
		t.Errorf("%d languages; want two at least", len(words.Tables))
	}
	english := words.Tables["en"]
	for name, got := range english.Said {
		if cases[name] != nil && !strings.ContainsAny(name, "_") && !strings.HasPrefix(name, "closed ") && got.Title != name {
			t.Errorf("%q is said where %q is meant", got.Title, name)
		}
	}
	for language, table := range words.Tables {
		if !slices.Equal(table.Keys, english.Keys) {
			t.Errorf("%s: the keys %v; want English's %v", language, table.Keys, english.Keys)
		}
		for name, got := range table.Said {
			of := language + ", " + name
			if got.Title == "" || got.Text == "" || got.State == "" || got.Button == "" && !got.Call && got.Note == "" {
				t.Errorf("%s: %+v", of, got)
			}
			isResolved := strings.HasPrefix(name, "resolved ") && !strings.HasPrefix(name, "resolved and verified ")
			elsewhere := strings.HasSuffix(name, "VERIFIED_ELSEWHERE")
			if isResolved && (got.Button != "" || got.Call == elsewhere || (got.State == "done") != elsewhere || strings.Contains(got.Text, "you are verified")) {
				t.Errorf("%s: %+v; want no button, and the telephone number unless the team has confirmed the person", of, got)
			}
			if strings.HasPrefix(name, "resolved and verified ") && got.Title != table.Said["You’re verified"].Title {
				t.Errorf("%s: %q; want what a verified person reads", of, got.Title)
			}
			if name == "closed and allowed" && (got.Button == "" || got.Text != table.Said["You can try once more"].Text) {
				t.Errorf("%s: %+v; want a button and what the team allowed", of, got)
			}
			if got.State == "stop" && got.Button == "" && !got.Call {
				t.Errorf("%s is a dead end: %+v", of, got)
			}
			if strings.HasPrefix(name, "denied ") && got.Button != "" && name != "denied RETRY_DENIAL_COOLDOWN" {
				t.Errorf("%s has the button %q", of, got.Button)
			}
			code := name[strings.Index(name, " ")+1:]
			unknown := code == "ERROR_CODE_OTHER" || code == "ERROR_CODE_UNSPECIFIED"
			if unknown && !strings.Contains(got.Fact.Text, "The person") {
				t.Errorf("%s: %q is said; want Stripe's words, for the page has none", of, got.Fact.Text)
			}
			if strings.HasPrefix(code, "ERROR_CODE_") && !unknown && strings.Contains(got.Fact.Text, "The person") {
				t.Errorf("%s: Stripe's words %q are said to the person", of, got.Fact.Text)
			}
		}
		if table.Refusals["REFUSED"] == "" || table.Refusals["REFUSED"] == table.Refusals["UNAVAILABLE"] {
			t.Errorf("%s: no words for what another try cannot change", language)
		}
		if table.Refusals["BUSY"] == "" {
			t.Errorf("%s: no words for too many presses", language)
		}
		for number, denial := range verificationv1.RetryDenial_name {
			if number != 0 && table.Refusals[strings.TrimPrefix(denial, "RETRY_DENIAL_")] == "" {
				t.Errorf("%s: no words for the refusal %s", language, denial)
			}
		}
	}
}
