package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxied are the settings of a desk behind a proxy.
func proxied() settings {
	return settings{userHeader: "X-Forwarded-Email", proxySecret: testKey}
}

// TestProxy: only the proxy names people. What a browser sends itself is not believed.
func TestProxy(t *testing.T) {
	rig := newRig(t, proxied())
	rig.underAge("vs_1")
	for name, test := range map[string]struct {
		headers http.Header
		status  int
		says    string
	}{
		"by the proxy":     {http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {"rosa@example.com"}}, 200, "You are rosa@example.com"},
		"without a secret": {http.Header{"X-Forwarded-Email": {"rosa@example.com"}}, 403, "Open the desk by its own address"},
		"wrong secret":     {http.Header{secretHeader: {testKey + "x"}, "X-Forwarded-Email": {"rosa@example.com"}}, 403, "Open the desk by its own address"},
		"nobody":           {http.Header{secretHeader: {testKey}}, 401, "You are not signed in"},
		"two names":        {http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {"rosa@example.com", "sam@example.com"}}, 401, "You are not signed in"},
		"too long":         {http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {strings.Repeat("a", maxName+1)}}, 401, "You are not signed in"},
		"hidden letters":   {http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {"rosa\u202eexe"}}, 401, "You are not signed in"},
	} {
		t.Run(name, func(t *testing.T) {
			c := rig.visitor()
			c.headers = test.headers
			for _, path := range []string{"/", "/session/vs_1", "/consumers", "/session/vs_1/allow"} {
				rig.see(c.get(path, test.status), test.says)
			}
			c.get("/sign-in", map[bool]int{true: 404, false: test.status}[test.status == 200]) // nobody can type a name
		})
	}
}

// TestOwnToken: each call has the token of the person that the proxy passed, and the page says so. Without one there is no call.
func TestOwnToken(t *testing.T) {
	s := proxied()
	s.tokenHeader = "Authorization"
	rig := newRig(t, s)
	rig.underAge("vs_1")
	c := rig.visitor()
	c.headers = http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {"rosa@example.com"}}
	rig.see(c.get("/", http.StatusUnauthorized), "Your sign-in is not complete")
	if len(rig.tokens) != 0 {
		t.Errorf("%d calls were made without a token of the person", len(rig.tokens))
	}
	c.headers["Authorization"] = []string{"Bearer vst_rosa", "Bearer vst_evil"} // one can be the browser's own
	rig.see(c.get("/", http.StatusUnauthorized), "Your sign-in is not complete")
	if len(rig.tokens) != 0 {
		t.Errorf("%d calls were made with one of two tokens", len(rig.tokens))
	}
	c.headers.Set("Authorization", "Bearer vst_rosa")
	page := c.act("vs_1", "allow", http.StatusOK)
	rig.see(page, "One more try is open", "The history of each check names you.")
	rig.miss(page+rig.log.String(), "vst_rosa")
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if len(rig.tokens) == 0 {
		t.Error("no call was made")
	}
	for _, token := range rig.tokens {
		if token != "Bearer vst_rosa" {
			t.Errorf("a call has the token %q, want the person's own", token)
		}
	}
}

// TestOtherHost: a proxy that replaces Host gets no redirect, which would come back for ever, but a page that says what is wrong. The log
// says it once.
func TestOtherHost(t *testing.T) {
	var log lockedBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	rig := newRig(t, proxied())
	browser := &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(host, path string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, rig.web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		request.Header = http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {"rosa@example.com"}}
		response, err := browser.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for _, host := range []string{"desk-upstream:8081", "localhost:8081", "evil.example"} {
		for _, path := range []string{"/", "/session/vs_1"} {
			status, page := ask(host, path)
			if status != http.StatusMisdirectedRequest {
				t.Errorf("%s%s: status %d, want 421", host, path, status)
			}
			rig.see(page, "the proxy must keep the header Host", rig.site.publicURL)
		}
	}
	if got := strings.Count(log.String(), "must keep the header Host"); got != 1 {
		t.Errorf("the log says it %d times, want once: %s", got, &log)
	}
	rig.site.staff.userHeader = "" // the sign-in for demonstrations: localhost is the same machine
	if status, _ := ask("localhost:8081", "/"); status != http.StatusTemporaryRedirect {
		t.Errorf("status %d, want a redirect", status)
	}
}

// TestSignIn: a cookie that the desk has not issued is nobody.
func TestSignIn(t *testing.T) {
	rig := newRig(t, settings{})
	rosa := rig.colleague("Rosa <b>")
	page := rosa.get("/", http.StatusOK)
	rig.see(page, "You are Rosa <b>")
	rig.miss(page, "Rosa <b>")
	for _, cookie := range []string{"", "desk=Um9zYQ", "desk=Um9zYQ.1.x", "desk=a; desk=b"} {
		c := rig.visitor()
		c.headers.Set("Cookie", cookie)
		rig.see(c.get("/", http.StatusOK), "Who are you?")
		c.get("/live/queue", http.StatusUnauthorized)
	}
	c := rig.visitor()
	token := field(t, c.get("/sign-in", http.StatusOK), "token")
	for _, name := range []string{"", " Rosa", "Ro\nsa", strings.Repeat("a", maxName+1)} {
		rig.see(c.post("/sign-in", http.StatusUnprocessableEntity, url.Values{"token": {token}, "name": {name}}), "Type a name")
	}
	c.post("/sign-in", http.StatusUnprocessableEntity, url.Values{"name": {"Rosa"}})
	rig.see(rosa.post("/sign-out", http.StatusOK, nil), "Who are you?")
	rig.see(rosa.get("/", http.StatusOK), "Who are you?")
}

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := map[string]string{}
	for _, test := range []struct {
		args    string
		env     map[string]string
		problem string
	}{
		{"", none, ""},
		{"-addr 127.0.0.1:1 -time-zone Europe/Amsterdam", none, ""},
		{"-public-url https://desk.example.com -addr 0.0.0.0:80 -status dns:///status:1 -user-header X-User", map[string]string{"DESK_PROXY_SECRET_FILE": file}, ""},
		{"-user-header X-User", none, "DESK_PROXY_SECRET: give the secret"},
		{"-user-header X-User", map[string]string{"DESK_PROXY_SECRET": "short"}, "DESK_PROXY_SECRET has 5 characters"},
		{"-status dns:///status:1", none, "-user-header: give the header"},
		{"-addr 0.0.0.0:80 -public-url http://127.0.0.1:80", none, "-user-header: give the header"},
		{"-public-url https://desk.example.com", none, "-user-header: give the header"},
		{"-public-url http://desk.example.com", none, "use https://"},
		{"-public-url https://desk.example.com/a", none, "a scheme and a host only"},
		{"-token-header Authorization", none, "-token-header is set without -user-header"},
		{"-user-header X-User -token-header Authorization", map[string]string{"DESK_PROXY_SECRET": testKey, "VERIFICATION_TOKEN": "vst_1"}, "both set: remove one"},
		{"-token-file " + file, map[string]string{"VERIFICATION_TOKEN": "vst_1"}, "both set: remove one"},
		{"-token-file " + file + "x", none, "no such file"},
		{"-time-zone Nowhere", none, "Nowhere"},
		{"-return-url http://verify.example.com/", none, "-return-url"},
		{"", map[string]string{"DESK_KEY": "short"}, "DESK_KEY has 5 characters"},
	} {
		_, err := readSettings(strings.Fields(test.args), func(name string) string { return test.env[name] })
		if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
			t.Errorf("%q %v: %v; want %q", test.args, test.env, err, test.problem)
		}
	}
}
