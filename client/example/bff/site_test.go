package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cookieKey = "0123456789abcdef0123456789abcdef"

// siteRig has the site, a fake verification-status, and a fake Stripe that records its requests.
type siteRig struct {
	t       *testing.T
	backend *clienttest.Server
	web     *httptest.Server
	people  *people
	watches atomic.Int32  // opened at the service
	created []url.Values  // sessions, with the Idempotency-Key as "key"
	refuse  bool          // Stripe answers with an error
	asked   chan struct{} // if set, Stripe sends here for each request,
	answers chan struct{} // and waits for this before it answers
}

func newRig(t *testing.T) *siteRig {
	t.Helper()
	w := &siteRig{t: t}
	w.backend = clienttest.New(t, grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if info.FullMethod == verificationv1.VerificationService_WatchStatus_FullMethodName {
			w.watches.Add(1)
		}
		return next(srv, stream)
	}))
	fake := httptest.NewServer(http.HandlerFunc(w.serveStripe))
	t.Cleanup(fake.Close)
	w.web = httptest.NewUnstartedServer(nil)
	site, err := newSite(w.backend.Client(), settings{
		stripe: stripe{base: fake.URL, key: "sk_test_1"}, publicURL: "http://" + w.web.Listener.Addr().String(), cookieKey: []byte(cookieKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.people = &site.people
	w.web.Config = newServer(site)
	w.web.Start()
	t.Cleanup(w.web.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return w
}

func (w *siteRig) serveStripe(rw http.ResponseWriter, r *http.Request) {
	if key, _, _ := r.BasicAuth(); key != "sk_test_1" || r.Method != http.MethodPost || r.URL.Path != "/v1/identity/verification_sessions" || r.ParseForm() != nil {
		w.t.Errorf("Stripe is asked for %s %s by %q", r.Method, r.URL, key)
	}
	if w.refuse {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, `{"error":{"message":"Identity is not enabled"}}`)
		return
	}
	if w.asked != nil {
		w.asked <- struct{}{}
		<-w.answers
	}
	r.PostForm.Set("key", r.Header.Get("Idempotency-Key"))
	w.created = append(w.created, r.PostForm)
	_, _ = io.WriteString(rw, `{"id":"vs_1","url":"https://verify.stripe.test/start/1","client_secret":"vs_1_secret_x"}`)
}

// visitor is a browser with cookies of its own.
type visitor struct {
	*siteRig
	browser *http.Client
}

func (w *siteRig) visitor() *visitor {
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	return &visitor{siteRig: w, browser: browser}
}

// ask sends a request with these headers, in pairs of name and value, and returns the answer with its body.
func (p *visitor) ask(method, path string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.web.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := p.browser.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response, string(body)
}

// wantLink presses the page's button.
func (p *visitor) wantLink(status int, want answer) {
	p.t.Helper()
	response, body := p.ask(http.MethodPost, "/link", "Sec-Fetch-Site", "same-origin")
	var got answer
	if err := json.Unmarshal([]byte(body), &got); err != nil || response.StatusCode != status || got != want {
		p.t.Fatalf("%s %s; want %d %+v", response.Status, body, status, want)
	}
	if strings.Contains(body, "secret") || response.Header.Get("Cache-Control") != "no-store" {
		p.t.Errorf("a link in %s with %v", body, response.Header)
	}
}

func session(reference string, status verificationv1.Status) *verificationv1.Verification {
	return &verificationv1.Verification{SessionId: "vs_1", ClientReferenceId: reference, Status: status}
}

// TestLink: a new person gets a session at Stripe. For all others verification-status decides.
func TestLink(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.wantLink(http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
	p.ask(http.MethodGet, "/")
	w.refuse = true
	p.wantLink(http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"})
	w.refuse = false
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"}) // a double click
	first, second := w.created[0], w.created[1]
	reference := first.Get("client_reference_id")
	if !regexp.MustCompile(`^web-[0-9a-f]{32}$`).MatchString(reference) || first.Get("type") != "document" || first.Get("return_url") != w.web.URL+"/" {
		t.Errorf("created with %v", first)
	}
	if first.Get("key") != reference || second.Get("key") != reference || second.Get("client_reference_id") != reference {
		t.Errorf("keys %q, %q", first.Get("key"), second.Get("key"))
	}

	w.backend.Set(session(reference, verificationv1.Status_STATUS_REQUIRES_INPUT))
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/vs_1"})
	w.backend.Set(session(reference, verificationv1.Status_STATUS_PROCESSING))
	p.wantLink(http.StatusConflict, answer{Problem: "PROCESSING"})
	w.backend.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_INTERNAL))
	p.wantLink(http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"})
	w.backend.Fail(nil)
	for _, err := range []error{clienttest.StripeRefused("no_link"), clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN)} {
		w.backend.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			return nil, err
		})
		p.wantLink(http.StatusConflict, answer{Problem: "REFUSED"}) // and not an invitation to click again
	}
	var asked *verificationv1.RetryVerificationRequest
	w.backend.OnRetry(func(request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
		asked = request
		return &verificationv1.RetryVerificationResponse{Url: "https://verify.stripe.test/new", ClientSecret: "x_secret_y"}, nil
	})
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/new"})
	if asked.GetSessionId() != "vs_1" || !asked.GetReplaceClosed() || asked.GetReturnUrl() != w.web.URL+"/" {
		t.Errorf("asked for %v", asked)
	}
	if len(w.created) != 2 {
		t.Errorf("%d sessions; want none but the first two calls'", len(w.created))
	}
}

// TestNobodyVerifiedBeginsAgain: the newest session is open, and an older one is verified.
func TestNobodyVerifiedBeginsAgain(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	reference := w.created[0].Get("client_reference_id")
	older, newest := session(reference, verificationv1.Status_STATUS_VERIFIED), session(reference, verificationv1.Status_STATUS_REQUIRES_INPUT)
	newest.SessionId = "vs_2"
	w.backend.Set(older)
	for _, newest.Status = range []verificationv1.Status{verificationv1.Status_STATUS_REQUIRES_INPUT, verificationv1.Status_STATUS_CANCELED} {
		w.backend.Set(newest)
		p.changeCookie(func(who *person) { who.begun = time.Now().Add(-time.Hour) })
		p.wantLink(http.StatusConflict, answer{Problem: "ALREADY_VERIFIED"})
	}
	if v, err := w.backend.Client().Status(t.Context(), client.Session("vs_2")); err != nil || v.GetSupersededBy() != "" || len(w.created) != 1 {
		t.Errorf("%v, %v, and %d sessions at Stripe; want no further one", v, err, len(w.created))
	}
}

// TestOperatorsDecide: a person gets the try that an operator allowed, and none when an operator has resolved the session.
func TestOperatorsDecide(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	young := session(w.created[0].Get("client_reference_id"), verificationv1.Status_STATUS_REQUIRES_INPUT)
	young.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE}
	w.backend.Set(young)
	p.wantLink(http.StatusConflict, answer{Problem: "NOT_RETRYABLE"})
	operator := w.backend.Client()
	if _, err := operator.AllowRetry(t.Context(), "vs_1"); err != nil {
		t.Fatal(err)
	}
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/vs_1"})
	if _, err := operator.Resolve(t.Context(), "vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED); err != nil {
		t.Fatal(err)
	}
	p.wantLink(http.StatusConflict, answer{Problem: "RESOLVED"})
}

// TestOtherSites: a page of another site can neither make nor read requests in a person's name.
func TestOtherSites(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, path := range []string{"/link", "/sign-out"} {
			if response, _ := p.ask(http.MethodPost, path, headers...); response.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: %s", path, headers, response.Status)
			}
		}
	}
	if response, _ := p.ask(http.MethodGet, "/link"); response.StatusCode == http.StatusOK || len(w.created) > 0 {
		t.Errorf("GET /link: %s, %d sessions", response.Status, len(w.created))
	}
}

// TestEverybodySeesTheirOwn status, whatever they ask for, and nothing after signing out.
func TestEverybodySeesTheirOwn(t *testing.T) {
	w := newRig(t)
	ada, eve := w.visitor(), w.visitor()
	for _, p := range []*visitor{ada, eve} {
		p.ask(http.MethodGet, "/")
		p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	}
	reference := w.created[0].Get("client_reference_id")
	w.backend.Set(session(reference, verificationv1.Status_STATUS_VERIFIED))
	if _, body := eve.ask(http.MethodGet, "/events?client_reference_id="+reference+"&session_id=vs_1"); !strings.Contains(body, "event: unknown") || strings.Contains(body, "VERIFIED") {
		t.Errorf("Eve sees %s", body)
	}
	if response, _ := w.visitor().ask(http.MethodGet, "/events"); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("events for nobody: %s", response.Status)
	}
	events := make(chan string, 1)
	go func() {
		_, body := ada.ask(http.MethodGet, "/events")
		events <- body
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.backend.AwaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	ada.ask(http.MethodPost, "/sign-out")
	select {
	case body := <-events:
		if !strings.Contains(body, "event: end") {
			t.Errorf("Ada's other tab sees %s", body)
		}
	case <-ctx.Done():
		t.Fatal("the stream in the other tab continues")
	}
}

// TestSignUpWithoutTheService: a person can begin with Stripe alone, and a second click makes no second session.
func TestSignUpWithoutTheService(t *testing.T) {
	t.Parallel()
	w := newRig(t)
	w.backend.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE))
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	if len(w.created) != 2 || w.created[0].Get("key") != w.created[1].Get("key") {
		t.Errorf("created with %v; want one key", w.created)
	}
	p.changeCookie(func(who *person) { who.begun = time.Now().Add(-sameSession) })
	p.wantLink(http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"}) // else a click would be a further try
	if len(w.created) != 2 {
		t.Errorf("%d sessions are created; want no further one", len(w.created)-2)
	}
}

// TestALinkWhileTheServiceIsStopped: a call without a connection waits for one. The person must not wait as long.
func TestALinkWhileTheServiceIsStopped(t *testing.T) {
	t.Parallel()
	w := newRig(t)
	w.backend.Stop()
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	for range 2 { // the second time there could be a status
		start := time.Now()
		p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
		if took := time.Since(start); took > statusTimeout+3*time.Second {
			t.Errorf("a link took %v; want at most %v and a little", took, statusTimeout)
		}
	}
}

// TestASessionNotYetKnownIsCreatedOnce: its webhook has not arrived, and Stripe's list does not have it yet.
func TestASessionNotYetKnownIsCreatedOnce(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	for _, ago := range []time.Duration{0, sameSession - time.Minute, sameSession + time.Minute, time.Hour} {
		p.changeCookie(func(who *person) { who.begun = time.Now().Add(-ago) })
		p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
		if last := w.created[len(w.created)-1]; last.Get("key") != last.Get("client_reference_id") || last.Get("key") != w.created[0].Get("key") {
			t.Errorf("begun %v ago, created with %v; want the key of the first time", ago, last)
		}
	}
}

// TestARolledBackCookie: a copy of the cookie from before the person began gives them no further session.
func TestARolledBackCookie(t *testing.T) {
	w := newRig(t)
	p := w.visitor()
	p.ask(http.MethodGet, "/")
	rollBack := func(age time.Duration) {
		p.changeCookie(func(who *person) { who.begun, who.issued = time.Time{}, time.Now().Add(-age) })
	}
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	rollBack(sameSession - time.Minute)
	p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
	reference := w.created[0].Get("client_reference_id")
	if len(w.created) != 2 || w.created[0].Get("key") != w.created[1].Get("key") {
		t.Errorf("created with %v; want one key", w.created)
	}
	w.backend.Set(session(reference, verificationv1.Status_STATUS_PROCESSING))
	rollBack(sameSession + time.Minute)
	p.wantLink(http.StatusConflict, answer{Problem: "PROCESSING"})
	rollBack(signedInFor - time.Minute)
	p.wantLink(http.StatusConflict, answer{Problem: "PROCESSING"})
	rollBack(signedInFor + time.Second)
	p.wantLink(http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
	if len(w.created) != 2 {
		t.Errorf("%d sessions are created; want no further one", len(w.created)-2)
	}
}

// TestBeginningLate: a person that reads the page for an hour can begin, even while the service cannot be reached.
func TestBeginningLate(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"unknown": nil, "unavailable": clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)} {
		w := newRig(t)
		w.backend.Fail(failure)
		p := w.visitor()
		p.ask(http.MethodGet, "/")
		p.changeCookie(func(who *person) { who.issued = time.Now().Add(-time.Hour) })
		p.wantLink(http.StatusOK, answer{URL: "https://verify.stripe.test/start/1"})
		if len(w.created) != 1 {
			t.Errorf("%s: %d sessions are created; want 1", name, len(w.created))
		}
	}
}

// TestARepeatedFailureIsNoDeadEnd: for a day, Stripe repeats the first answer to a key, even a 500.
func TestARepeatedFailureIsNoDeadEnd(t *testing.T) {
	var keys []string
	fake := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if keys = append(keys, key); key == "web-1" {
			if len(keys) > 1 {
				rw.Header().Set("Idempotent-Replayed", "true")
			}
			rw.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(rw, `{"error":{"message":"an error"}}`)
			return
		}
		_, _ = io.WriteString(rw, `{"url":"https://verify.stripe.test/start/2"}`)
	}))
	defer fake.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	s := stripe{base: fake.URL, key: "sk_test_1"}
	if link, err := s.create(t.Context(), "web-1", "http://127.0.0.1/"); err == nil {
		t.Errorf("the link is %q; want the error", link)
	}
	if link, err := s.create(t.Context(), "web-1", "http://127.0.0.1/"); link != "https://verify.stripe.test/start/2" || len(keys) != 3 {
		t.Errorf("the link is %q, %v after the keys %v; want one of a second key", link, err, keys)
	}
}

// changeCookie gives the browser another cookie of its person.
func (p *visitor) changeCookie(change func(*person)) {
	p.t.Helper()
	at, err := url.Parse(p.web.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	request, recorder := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	for _, cookie := range p.browser.Jar.Cookies(at) {
		request.AddCookie(cookie)
	}
	who, ok := p.people.who(request)
	if !ok {
		p.t.Fatal("the browser is nobody")
	}
	change(&who)
	p.people.issue(recorder, who)
	p.browser.Jar.SetCookies(at, recorder.Result().Cookies())
}

// TestACallerWithoutCallsCostsNothing: neither the page nor its events ask the service about a person without a session, or about a
// made-up cookie.
func TestACallerWithoutCallsCostsNothing(t *testing.T) {
	w := newRig(t)
	for range 20 {
		p := w.visitor()
		p.ask(http.MethodGet, "/")
		if _, body := p.ask(http.MethodGet, "/events"); !strings.Contains(body, "event: unknown") || !strings.Contains(body, "event: live") {
			t.Fatalf("events of a person who has not begun: %s", body)
		}
	}
	if asked := w.watches.Load(); asked != 0 {
		t.Errorf("%d watches are asked for; want none", asked)
	}
	for _, value := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ.1.1.", "ABCDEFGHIJKLMNOPQRSTUVWXYZ.1.1." + strings.Repeat("A", 43)} {
		for _, path := range []string{"/events", "/link"} {
			method := map[string]string{"/events": http.MethodGet, "/link": http.MethodPost}[path]
			if response, _ := w.visitor().ask(method, path, "Cookie", "person="+value); response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with the made-up cookie %s: %s", path, value, response.Status)
			}
		}
	}
}

// TestARedirectIsNotFollowed: the key would be sent too.
func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server is sent %s %s with %v", r.Method, r.URL, r.Header)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		lying := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		s := stripe{base: lying.URL, key: "sk_test_1"}
		if link, err := s.create(t.Context(), "web-1", "http://127.0.0.1/"); err == nil {
			t.Errorf("%d: the link is %q", status, link)
		}
		lying.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
