package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestCookie: who comes without one becomes somebody; who has one stays that.
func TestCookie(t *testing.T) {
	for name, secure := range map[string]bool{"http://127.0.0.1:8080": false, "https://verify.example.com": true} {
		s, err := newSite(nil, stripe{}, name)
		if err != nil {
			t.Fatal(err)
		}
		visit := func(cookie string) []*http.Cookie {
			r := httptest.NewRequest(http.MethodGet, name+"/", nil)
			if cookie != "" {
				r.Header.Set("Cookie", cookieName+"="+cookie)
			}
			rec := httptest.NewRecorder()
			s.handler().ServeHTTP(rec, r)
			return rec.Result().Cookies()
		}
		set := visit("")
		if len(set) != 1 || !set[0].HttpOnly || set[0].Secure != secure || set[0].SameSite != http.SameSiteLaxMode || set[0].Domain != "" {
			t.Fatalf("%s: cookies %v", name, set)
		}
		if again := visit(set[0].Value); len(again) != 0 {
			t.Errorf("%s: somebody known becomes somebody else: %v", name, again)
		}
		if garbage := visit("user-42"); len(garbage) != 1 || garbage[0].Value == set[0].Value {
			t.Errorf("%s: with a cookie from elsewhere: %v", name, garbage)
		}
	}
}

// TestHeaders: every answer has them, and the page lives with them: it has no script or style of its own.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/app.js", "/style.css", "/missing", "/events"} {
		response, body := w.person().ask(http.MethodGet, path)
		csp := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, response.Header)
		}
		if inline := regexp.MustCompile(`<script>|<style|\s(style|on\w+)="|javascript:`).FindString(body); inline != "" {
			t.Errorf("%s has %q", path, inline)
		}
	}
}

// TestOneAddress: under another name cookies and the way back from Stripe would not fit together.
func TestOneAddress(t *testing.T) {
	s, err := newSite(nil, stripe{}, "http://127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
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
		if problem == "" && (err != nil || s.target != "dns:///status:1" || s.stripe.key != "sk_test_simulated" || s.publicURL != "http://"+s.addr) {
			t.Errorf("%q: %+v, %v", args, s, err)
		}
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v; want %q", args, err, problem)
		}
	}
}

// TestRunEnds: a stop ends the streams, and does not wait for browsers to go.
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
		request.AddCookie(&http.Cookie{Name: cookieName, Value: strings.Repeat("A", 26)})
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

// TestWords: the page has words for every status and denial of the contract, and a button only where it
// would help.
func TestWords(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed")
		}
		t.Skip("node is not installed")
	}
	type fields = map[string]any
	refused := func(retry fields) fields {
		return fields{"status": "STATUS_REQUIRES_INPUT", "lastError": fields{"code": "ERROR_CODE_DOCUMENT_EXPIRED", "reason": "It has expired."}, "retry": retry}
	}
	cases := map[string]any{
		"Verify your identity":         nil,
		"Go on where you left off":     fields{"status": "STATUS_REQUIRES_INPUT", "retry": fields{"allowed": true}},
		"We’re checking your document": fields{"status": "STATUS_PROCESSING"},
		"You’re verified":              fields{"status": "STATUS_VERIFIED", "updateTime": "2026-01-02T03:04:05Z", "settled": true},
		"This check was closed":        fields{"status": "STATUS_CANCELED", "retry": fields{"denial": "RETRY_DENIAL_CANCELED", "retriesRemaining": 1}},
		"That didn’t work":             refused(fields{"allowed": true, "retriesRemaining": 1}),
		"We couldn’t verify you":       refused(fields{"denial": "RETRY_DENIAL_LIMIT_REACHED"}),
	}
	for _, denial := range verificationv1.RetryDenial_name {
		cases["denied "+denial] = refused(fields{"denial": denial, "nextRetryTime": "2026-01-02T03:04:05Z"})
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	script := `import { refusals, wordsFor } from "./static/words.js";
		const said = Object.entries(JSON.parse(process.argv[1])).map(([name, status]) => [name, wordsFor(status)]);
		console.log(JSON.stringify({ said: Object.fromEntries(said), refusals }));`
	out, err := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", script, string(input)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var words struct {
		Said     map[string]struct{ Title, Text, State, Button, Note string }
		Refusals map[string]string
	}
	if err := json.Unmarshal(out, &words); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, said := range words.Said {
		if said.Title == "" || said.Text == "" || said.State == "" || said.Button == "" && said.Note == "" || strings.Contains(string(out), "undefined") {
			t.Errorf("%s: %+v", name, said)
		}
		denied := strings.HasPrefix(name, "denied ")
		if !denied && said.Title != name {
			t.Errorf("%q is said where %q is meant", said.Title, name)
		}
		if denied && said.Button != "" && name != "denied RETRY_DENIAL_COOLDOWN" {
			t.Errorf("%s has the button %q", name, said.Button)
		}
	}
	for number, denial := range verificationv1.RetryDenial_name {
		short := strings.TrimPrefix(denial, "RETRY_DENIAL_")
		if replaced := short == "CANCELED" || short == "SUPERSEDED"; number != 0 && !replaced && words.Refusals[short] == "" {
			t.Errorf("no words for the refusal %s", short)
		}
	}
}
