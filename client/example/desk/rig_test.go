package main

import (
	"bytes"
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "0123456789abcdef0123456789abcdef"

// deskRig has a desk, and a fake verification-status.
type deskRig struct {
	t       *testing.T
	backend *clienttest.Server
	site    *site
	web     *httptest.Server
	log     lockedBuffer // of the acts

	mu      sync.Mutex
	tokens  []string // "authorization" of the unary calls
	actErr  error    // of the next call that is no look
	isOlder bool     // GetStatus does not number outcomes
	onAct   func()   // runs before each call that is no look
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newRig starts a desk with these settings, and the sign-in for demonstrations unless they say otherwise.
func newRig(t *testing.T, s settings) *deskRig {
	t.Helper()
	rig := &deskRig{t: t}
	rig.backend = clienttest.New(t, grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		header, _ := metadata.FromIncomingContext(ctx)
		rig.mu.Lock()
		rig.tokens = append(rig.tokens, strings.Join(header.Get("authorization"), ","))
		var failure error
		before := func() {}
		switch request.(type) {
		case *verificationv1.AllowRetryRequest, *verificationv1.ResolveVerificationRequest, *verificationv1.RetryVerificationRequest:
			failure, rig.actErr = rig.actErr, nil
			if rig.onAct != nil {
				before = rig.onAct
			}
		}
		isOlder := rig.isOlder
		rig.mu.Unlock()
		before()
		if failure != nil {
			return nil, failure
		}
		answer, err := next(ctx, request)
		if one, ok := answer.(*verificationv1.GetStatusResponse); ok && isOlder && one != nil {
			one.Verification.OutcomeRevision = 0
		}
		return answer, err
	}))
	rig.backend.NameCallers(func(context.Context) string { return "token:desk" })
	rig.web = httptest.NewUnstartedServer(nil)
	s.publicURL, s.key, s.zone = "http://"+rig.web.Listener.Addr().String(), []byte(testKey), time.UTC
	site, err := newSite(rig.backend.Client(s.clientOptions()[0:]...), s)
	if err != nil {
		t.Fatal(err)
	}
	site.logger = slog.New(slog.NewJSONHandler(&rig.log, nil))
	rig.site = site
	rig.web.Config = newServer(site)
	rig.web.Start()
	t.Cleanup(func() {
		site.endStreams()
		rig.web.Close()
	})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return rig
}

// colleague is a browser of a person at the desk.
type colleague struct {
	*deskRig
	browser *http.Client
	headers http.Header // of each request
}

// visitor is a browser of nobody.
func (rig *deskRig) visitor() *colleague {
	jar, _ := cookiejar.New(nil)
	return &colleague{rig, &http.Client{Jar: jar, Timeout: 20 * time.Second}, http.Header{}}
}

// colleague is the browser of somebody that has typed a name.
func (rig *deskRig) colleague(name string) *colleague {
	rig.t.Helper()
	c := rig.visitor()
	page := c.get("/sign-in", http.StatusOK)
	c.post("/sign-in", http.StatusOK, url.Values{"token": {field(rig.t, page, "token")}, "name": {name}})
	return c
}

// get returns the page at a path, after redirects.
func (c *colleague) get(path string, status int) string {
	c.t.Helper()
	return c.ask(http.MethodGet, path, status, "")
}

func (c *colleague) post(path string, status int, form url.Values) string {
	c.t.Helper()
	return c.ask(http.MethodPost, path, status, form.Encode())
}

func (c *colleague) ask(method, path string, status int, body string) string {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.web.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header = c.headers.Clone()
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.browser.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode != status {
		c.t.Errorf("%s %s: status %d, want %d: %s", method, path, response.StatusCode, status, words(string(text)))
	}
	for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if got := response.Header.Get(name); got != want {
			c.t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
		}
	}
	bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(string(text), `""`) // without the values of attributes, which can be hostile texts
	if inline := regexp.MustCompile(`(?i)<script(>| [^s])|<style|\s(style|on\w+)=""`).FindString(bare) + regexp.MustCompile(`(?i)="\s*javascript:`).FindString(string(text)); inline != "" {
		c.t.Errorf("%s %s has %q, which the policy does not let run", method, path, inline)
	}
	return string(text)
}

// act presses a button of the story and then the one that does it. It returns the page after that.
func (c *colleague) act(session, name string, status int, more ...string) string {
	c.t.Helper()
	question := c.get(c.link(session, name), http.StatusOK)
	return c.sure(session, name, status, question, more...)
}

// link returns the address of a button of the story.
func (c *colleague) link(session, name string) string {
	c.t.Helper()
	story := c.get("/session/"+session, http.StatusOK)
	found := regexp.MustCompile(`id="act-` + name + `" href="([^"]*)"`).FindStringSubmatch(story)
	if found == nil {
		c.t.Fatalf("the story of %s has no button %s: %s", session, name, words(story))
	}
	return html.UnescapeString(found[1])
}

// sure submits the form of a question.
func (c *colleague) sure(session, name string, status int, question string, more ...string) string {
	c.t.Helper()
	form := formOf(c.t, question)
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return c.post("/session/"+session+"/"+name, status, form)
}

// formOf returns the hidden fields of a question.
func formOf(t *testing.T, question string) url.Values {
	t.Helper()
	form := url.Values{}
	for _, name := range []string{"token", "seen", "mark", "open"} {
		form.Set(name, field(t, question, name))
	}
	return form
}

// field returns the value of a hidden field of a page.
func field(t *testing.T, page, name string) string {
	t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page has no field %s: %s", name, words(page))
	}
	return html.UnescapeString(found[1])
}

// words returns the text of a page without its tags.
func words(page string) string {
	page = regexp.MustCompile(`(?s)<head>.*?</head>|<noscript>.*?</noscript>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(html.UnescapeString(page)), " ")
}

// see fails the test for a page without one of these texts.
func (rig *deskRig) see(page string, texts ...string) {
	rig.t.Helper()
	for _, text := range texts {
		if !strings.Contains(words(page), text) {
			rig.t.Errorf("the page does not say %q: %s", text, words(page))
		}
	}
}

// miss fails the test for a page with one of these texts.
func (rig *deskRig) miss(page string, texts ...string) {
	rig.t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			rig.t.Errorf("the page has %q: %s", text, words(page))
		}
	}
}

// refused is a session whose person was refused for a reason.
func refused(id, reference string, code verificationv1.ErrorCode) *verificationv1.Verification {
	return &verificationv1.Verification{
		SessionId: id, ClientReferenceId: reference, Status: verificationv1.Status_STATUS_REQUIRES_INPUT,
		LastError: &verificationv1.VerificationError{Code: code, Reason: "Stripe’s own words."}, LastVerificationReport: "vr_" + id,
	}
}

func (rig *deskRig) underAge(id string) *verificationv1.Verification {
	return rig.backend.Set(refused(id, "user-"+id, verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE))
}

// now returns a session as the service has it.
func (rig *deskRig) now(id string) *verificationv1.Verification {
	rig.t.Helper()
	v, err := rig.backend.Client().Status(rig.t.Context(), client.Session(id))
	if err != nil {
		rig.t.Fatal(err)
	}
	return v
}

// setActErr makes the next call that is no look fail.
func (rig *deskRig) setActErr(err error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.actErr = err
}

// older makes the service answer looks as a replica does that does not number outcomes.
func (rig *deskRig) older(is bool) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.isOlder = is
}
