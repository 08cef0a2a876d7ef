package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

const received = `{"received":true}`

func TestAnswers(t *testing.T) {
	tests := []struct {
		name   string
		body   string
		status int
		reason webhook.Reason
		kept   int
	}{
		{"verified", verifiedEvent, 200, webhook.ReasonApplied, 1},
		{"no api_version", eventAs(`"api_version":"2026-08-26.dahlia",`, ""), 200, webhook.ReasonApplied, 1},
		{"api_version null", eventAs(`"2026-08-26.dahlia"`, "null"), 200, webhook.ReasonApplied, 1},
		{"future type of Identity", eventAs("_session.verified", "_session.appealed"), 200, webhook.ReasonApplied, 1},
		{"live event, both modes taken", eventAs(`"livemode":false`, `"livemode":true`), 200, webhook.ReasonApplied, 1},
		{"another product", eventAs("identity.verification_session.verified", "invoice.paid"), 200, webhook.ReasonNotIdentity, 0},
		{"thin event", eventAs(`"object":"event"`, `"object":"v2.core.event"`), 400, webhook.ReasonMalformed, 0},
		{"fraction as created", eventAs("1790000181", "1790000181.5"), 400, webhook.ReasonMalformed, 0},
		{"no event id", eventAs(`"id":"evt_1",`, ""), 400, webhook.ReasonMalformed, 0},
		{"no session id", eventAs(`"id":"vs_1",`, ""), 400, webhook.ReasonMalformed, 0},
		{"no JSON", "hello", 400, webhook.ReasonMalformed, 0},
		{"empty body", "", 400, webhook.ReasonMalformed, 0},
		{"JSON cut off", verifiedEvent[:100], 400, webhook.ReasonMalformed, 0},
		{"256 KiB", eventAs(`"object":"event"`, `"object":"event","pad":"`+strings.Repeat("x", 256<<10-len(verifiedEvent)-9)+`"`), 200, webhook.ReasonApplied, 1},
		{"256 KiB and a byte", strings.Repeat("x", 256<<10+1), 413, webhook.ReasonTooLarge, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := start(t, nil)
			got := e.post(t, test.body, sign(test.body, now, secret))
			checkAnswer(t, got, test.status, test.reason)
			if kept := e.keeper.kept(); len(kept) != test.kept {
				t.Errorf("%d events kept, want %d", len(kept), test.kept)
			}
		})
	}
}

func checkAnswer(t *testing.T, got response, status int, reason webhook.Reason) {
	t.Helper()
	if got.status != status || got.result.Status != status || got.result.Reason != reason {
		t.Fatalf("answer %d, result %+v; want %d and %s", got.status, got.result, status, reason)
	}
	if status == http.StatusOK {
		if got.body != received || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("body %q of type %q", got.body, got.header.Get("Content-Type"))
		}
		return
	}
	if strings.Count(got.body, "\n") != 1 || strings.Contains(got.body, "planted") {
		t.Errorf("body %q must be one plain line", got.body)
	}
}

func TestEventReachesTheApplier(t *testing.T) {
	asked := false
	e := start(t, func(c *webhook.Config) {
		c.ReferenceKey = "person"
		c.Clock = func() time.Time {
			if !asked {
				asked = true
				return now.Add(-time.Millisecond)
			}
			return now
		}
	})
	body := eventAs(`"client_reference_id":"planted-reference"`, `"client_reference_id":null,"metadata":{"person":"p-1"}`)
	got := e.post(t, body, sign(body, now, secret))
	checkAnswer(t, got, 200, webhook.ReasonApplied)
	want := []verification.Event{{
		ID: "evt_1", Type: verification.EventVerified, Source: verification.SourceWebhook,
		Second: 1790000181, RecordTime: now.UnixMilli(),
		Object: verification.Object{ID: "vs_1", Type: "document", Status: "verified", Report: "vr_1", Reference: "p-1",
			Error: verification.Error{Code: "selfie_face_mismatch", Reason: "planted reason"}},
	}}
	if diff := cmp.Diff(want, e.keeper.kept()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	result := got.result
	if result.Took != time.Millisecond {
		t.Errorf("took %v; want 1 ms", result.Took)
	}
	result.Took = 0
	if diff := cmp.Diff(webhook.Result{Status: 200, Reason: webhook.ReasonApplied, Secret: 1, EventType: verification.EventVerified,
		Effect: verification.EffectApplied, Age: 119 * time.Second}, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if log := e.logs.String(); !strings.Contains(log, "evt_1") || !strings.Contains(log, "vs_1") {
		t.Errorf("the log does not name the event and the session: %s", log)
	}
}

func TestTypesThatAreNotKnownShareOneLabel(t *testing.T) {
	e := start(t, nil)
	body := eventAs("_session.verified", "_session.appealed")
	if got := e.post(t, body, sign(body, now, secret)); got.result.EventType != "other" {
		t.Errorf("event type %q, want other", got.result.EventType)
	}
}

func TestMalformedEventIsNamedInTheLog(t *testing.T) {
	e := start(t, nil)
	body := eventAs(`"evt_1"`, `"evt_broken"`, "1790000181", "null")
	checkAnswer(t, e.post(t, body, sign(body, now, secret)), 400, webhook.ReasonMalformed)
	if log := e.logs.String(); !strings.Contains(log, "evt_broken") {
		t.Errorf("the log does not name the event: %s", log)
	}
}

func TestLivemode(t *testing.T) {
	for _, test := range []struct {
		service, event bool
		reason         webhook.Reason
	}{
		{true, true, webhook.ReasonApplied}, {false, false, webhook.ReasonApplied},
		{true, false, webhook.ReasonOtherLivemode}, {false, true, webhook.ReasonOtherLivemode},
	} {
		e := start(t, func(c *webhook.Config) { c.Livemode = &test.service })
		body := verifiedEvent
		if test.event {
			body = eventAs(`"livemode":false`, `"livemode":true`)
		}
		checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, test.reason)
		if kept := len(e.keeper.kept()) == 1; kept != (test.reason == webhook.ReasonApplied) {
			t.Errorf("livemode %v, event %v: kept %v", test.service, test.event, kept)
		}
	}
}

func TestAccounts(t *testing.T) {
	for _, test := range []struct {
		accepted []string
		account  string
		reason   webhook.Reason
	}{
		{nil, "acct_1", webhook.ReasonApplied},
		{nil, "", webhook.ReasonApplied},
		{[]string{"acct_1", "acct_2"}, "acct_2", webhook.ReasonApplied},
		{[]string{"acct_1", "acct_2"}, "acct_3", webhook.ReasonOtherAccount},
		{[]string{"acct_1"}, "acct_11", webhook.ReasonOtherAccount},
		{[]string{"acct_1"}, "", webhook.ReasonApplied},
	} {
		e := start(t, func(c *webhook.Config) { c.Accounts = verification.NewAccounts(test.accepted) })
		body := verifiedEvent
		if test.account != "" {
			body = eventAs(`"object":"event"`, `"object":"event","account":"`+test.account+`"`)
		}
		checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, test.reason)
		if kept := len(e.keeper.kept()) == 1; kept != (test.reason == webhook.ReasonApplied) {
			t.Errorf("%v, event of %q: kept %v", test.accepted, test.account, kept)
		}
	}
}

// TestAccountOfASecret: the events of an account's own endpoint name no account, so its signing secret says whose they are. An
// event that names an account is of that one. The account is filtered like any other.
func TestAccountOfASecret(t *testing.T) {
	const third = "whsec_third"
	for _, test := range []struct {
		name, secret, account, want string
		accepted                    []string
		reason                      webhook.Reason
	}{
		{"the secret of an account", another, "", "acct_own", nil, webhook.ReasonApplied},
		{"the secret of no account", secret, "", "", nil, webhook.ReasonApplied},
		{"an event of another account", another, "acct_1", "acct_1", nil, webhook.ReasonApplied},
		{"the secret of the platform", third, "", "", []string{"acct_1"}, webhook.ReasonApplied},
		{"an event of the platform", another, "acct_platform", "", []string{"acct_1"}, webhook.ReasonApplied},
		{"an account that is accepted", another, "", "acct_own", []string{"acct_own"}, webhook.ReasonApplied},
		{"an account that is not accepted", another, "", "", []string{"acct_1"}, webhook.ReasonOtherAccount},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := start(t, func(c *webhook.Config) {
				c.Accounts = verification.NewAccounts(test.accepted)
				c.Secrets = func() []verification.Secret { return []verification.Secret{secret, another, third} }
				c.AccountOf = func(s verification.Secret) string {
					return map[verification.Secret]string{another: "acct_own", third: "acct_platform"}[s]
				}
				c.Platform = func() string { return "acct_platform" }
			})
			body := verifiedEvent
			if test.account != "" {
				body = eventAs(`"object":"event"`, `"object":"event","account":"`+test.account+`"`)
			}
			checkAnswer(t, e.post(t, body, sign(body, now, test.secret)), 200, test.reason)
			kept := e.keeper.kept()
			if want := test.reason == webhook.ReasonApplied; (len(kept) == 1) != want {
				t.Fatalf("%d events kept; want one: %v", len(kept), want)
			}
			if len(kept) == 1 && kept[0].Object.Account != test.want {
				t.Errorf("account %q; want %q", kept[0].Object.Account, test.want)
			}
		})
	}
}

func TestPathAndMethod(t *testing.T) {
	e := start(t, nil)
	signature := sign(verifiedEvent, now, secret)
	for _, path := range []string{"/", "/webhook/", "//webhook", "/webhook/../webhook", "/Webhook", "/v1/webhook"} {
		got := e.do(t, http.MethodPost, path, strings.NewReader(verifiedEvent), signature)
		checkAnswer(t, got, 404, webhook.ReasonWrongPath)
		if got.header.Get("Location") != "" {
			t.Errorf("%s: a redirect to %s", path, got.header.Get("Location"))
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		got := e.do(t, method, webhook.Path, strings.NewReader(verifiedEvent), signature)
		checkAnswer(t, got, 405, webhook.ReasonWrongMethod)
		if got.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: Allow %q", method, got.header.Get("Allow"))
		}
	}
	checkAnswer(t, e.do(t, http.MethodGet, "/nothing", nil), 404, webhook.ReasonWrongPath)
	checkAnswer(t, e.do(t, http.MethodPost, "/webhook?from=stripe", strings.NewReader(verifiedEvent), signature), 200, webhook.ReasonApplied)
}

// The path is a setting. The default is then a path like any other.
func TestAnotherPath(t *testing.T) {
	e := start(t, func(c *webhook.Config) { c.Path = "/stripe/hook/" })
	signature := sign(verifiedEvent, now, secret)
	for _, path := range []string{webhook.Path, "/stripe/hook", "/stripe/hook//", "/stripe"} {
		checkAnswer(t, e.do(t, http.MethodPost, path, strings.NewReader(verifiedEvent), signature), 404, webhook.ReasonWrongPath)
	}
	checkAnswer(t, e.do(t, http.MethodPost, "/stripe/hook/?connect=1", strings.NewReader(verifiedEvent), signature), 200, webhook.ReasonApplied)
}

func TestChunkedBodies(t *testing.T) {
	e := start(t, nil)
	// A reader of unknown length makes the client send chunks.
	small := io.MultiReader(strings.NewReader(verifiedEvent[:50]), strings.NewReader(verifiedEvent[50:]))
	checkAnswer(t, e.do(t, http.MethodPost, webhook.Path, small, sign(verifiedEvent, now, secret)), 200, webhook.ReasonApplied)

	large := strings.Repeat("x", 256<<10+1)
	checkAnswer(t, e.do(t, http.MethodPost, webhook.Path, io.MultiReader(strings.NewReader(large)), sign(large, now, secret)), 413, webhook.ReasonTooLarge)
}

func TestBodyThatBreaksOff(t *testing.T) {
	e := start(t, nil)
	connection, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_, err = io.WriteString(connection, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nStripe-Signature: "+
		sign(verifiedEvent, now, secret)+"\r\n\r\n"+verifiedEvent)
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if result := e.result(t); answer.StatusCode != 400 || result.Reason != webhook.ReasonUnreadable || len(e.keeper.kept()) != 0 {
		t.Errorf("answer %d, result %+v, %d kept", answer.StatusCode, result, len(e.keeper.kept()))
	}
}

// G3: 2xx only after Apply has returned nil.
func TestAnswerFollowsTheCommit(t *testing.T) {
	e := start(t, nil)
	entered, commit := make(chan struct{}), make(chan struct{})
	e.keeper.fail(func(context.Context) error {
		close(entered)
		<-commit
		return nil
	})
	connection, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	request, err := http.NewRequest(http.MethodPost, "http://"+e.addr+webhook.Path, strings.NewReader(verifiedEvent))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Stripe-Signature", sign(verifiedEvent, now, secret))
	if err := request.Write(connection); err != nil {
		t.Fatal(err)
	}
	await.One(t, entered)
	// No byte of an answer, not even a header, is sent before the event is kept.
	if err := connection.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := connection.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Fatalf("%d bytes before the commit, error %v", n, err)
	}
	close(commit)
	if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 || len(e.keeper.kept()) != 1 {
		t.Errorf("answer %d, %d kept", answer.StatusCode, len(e.keeper.kept()))
	}
}

func isTimeout(err error) bool {
	timeout := (net.Error)(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestFailureThenRedelivery(t *testing.T) {
	e := start(t, nil)
	e.keeper.fail(func(context.Context) error { return errors.New("dial tcp 10.0.0.7:6379: connection refused") })
	got := e.post(t, verifiedEvent, sign(verifiedEvent, now, secret))
	checkAnswer(t, got, 503, webhook.ReasonApplyFailed)
	if got.header.Get("Retry-After") == "" || strings.Contains(got.body, "6379") {
		t.Errorf("Retry-After %q, body %q", got.header.Get("Retry-After"), got.body)
	}
	if log := e.logs.String(); !strings.Contains(log, "connection refused") || !strings.Contains(log, "evt_1") {
		t.Errorf("the log does not say what failed: %s", log)
	}
	e.keeper.fail(nil)
	checkAnswer(t, e.post(t, verifiedEvent, sign(verifiedEvent, now, secret)), 200, webhook.ReasonApplied)
	checkAnswer(t, e.post(t, verifiedEvent, sign(verifiedEvent, now, secret)), 200, webhook.ReasonDuplicate)
	if kept := e.keeper.kept(); len(kept) != 1 {
		t.Errorf("%d events kept, want 1", len(kept))
	}
}

func TestApplyHasADeadline(t *testing.T) {
	e := start(t, func(c *webhook.Config) { c.ApplyTimeout = 20 * time.Millisecond })
	e.keeper.fail(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	checkAnswer(t, e.post(t, verifiedEvent, sign(verifiedEvent, now, secret)), 503, webhook.ReasonApplyFailed)
}

func TestPanicTellsNothing(t *testing.T) {
	e := start(t, nil)
	e.keeper.fail(func(context.Context) error { panic("planted reason") })
	got := e.post(t, verifiedEvent, sign(verifiedEvent, now, secret))
	checkAnswer(t, got, 503, webhook.ReasonPanic)
	if log := e.logs.String(); !strings.Contains(log, "handler.go") {
		t.Errorf("the log does not say where: %s", log)
	}
	e.keeper.fail(nil)
	checkAnswer(t, e.post(t, verifiedEvent, sign(verifiedEvent, now, secret)), 200, webhook.ReasonApplied)
}

func TestNewServer(t *testing.T) {
	e := start(t, nil)
	server := webhook.NewServer(":4242", http.NotFoundHandler(), nopLogger())
	if server.ReadHeaderTimeout != 5*time.Second || server.ReadTimeout != 10*time.Second || server.WriteTimeout != 15*time.Second ||
		server.IdleTimeout != 60*time.Second || server.MaxHeaderBytes != 16<<10 || server.Addr != ":4242" {
		t.Errorf("server %+v", server)
	}
	// HTTP/2 with prior knowledge is refused.
	connection, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 1 || answer.StatusCode < 400 {
		t.Errorf("answer %s %s", answer.Proto, answer.Status)
	}
}
