package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

// refusal returns an error of Stripe's API whose message quotes a secret.
func refusal(kind, code string) string {
	e := fields{"type": kind, "message": "planted message: No such session vs_1", "param": "planted"}
	if code != "" {
		e["code"] = code
	}
	return encode(fields{"error": e})
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		want    error
		refused string
	}{
		{"missing", 404, refusal("invalid_request_error", "resource_missing"), verification.ErrStripeUnknown, ""},
		{"missing without a code", 404, refusal("invalid_request_error", ""), verification.ErrStripeUnknown, ""},
		{"missing as 400", 400, refusal("invalid_request_error", "resource_missing"), verification.ErrStripeUnknown, ""},
		{"wrong key", 401, refusal("invalid_request_error", ""), verification.ErrStripeUnauthorized, ""},
		{"expired key", 401, refusal("invalid_request_error", "api_key_expired"), verification.ErrStripeUnauthorized, ""},
		{"no permission", 403, refusal("invalid_request_error", "more_permissions_required"), verification.ErrStripeUnauthorized, ""},
		{"rate limit", 429, refusal("invalid_request_error", "rate_limit"), verification.ErrStripeUnavailable, ""},
		{"lock timeout", 429, refusal("invalid_request_error", "lock_timeout"), verification.ErrStripeUnavailable, ""},
		{"key in use", 409, refusal("idempotency_error", "idempotency_key_in_use"), verification.ErrStripeUnavailable, ""},
		{"fault at Stripe", 500, refusal("api_error", ""), verification.ErrStripeUnavailable, ""},
		{"down", 503, refusal("api_error", ""), verification.ErrStripeUnavailable, ""},
		{"down, no Stripe error", 503, "{}", verification.ErrStripeUnavailable, ""},
		{"HTML", 502, "<html>planted Bad Gateway</html>", verification.ErrStripeUnavailable, ""},
		{"HTML as 200", 200, "<html>planted captive portal</html>", verification.ErrStripeUnavailable, ""},
		{"HTML as 404", 404, "<html>planted</html>", verification.ErrStripeUnavailable, ""},
		{"empty 200", 200, "", verification.ErrStripeUnavailable, ""},
		{"an array", 200, "[]", verification.ErrStripeUnavailable, ""},
		{"another session", 200, encode(session(fields{"id": "vs_1Other"})), verification.ErrStripeUnavailable, ""},
		{"no session", 200, `{"object":"balance"}`, verification.ErrStripeUnavailable, ""},
		{"neither 200 nor an error", 202, encode(session(nil)), verification.ErrStripeUnavailable, ""},
		{"over 1 MiB", 200, encode(session(fields{"pad": strings.Repeat("x", 1<<20)})), verification.ErrStripeUnavailable, ""},
		{"idempotency", 400, refusal("idempotency_error", ""), nil, "idempotency_error"},
		{"refused", 400, refusal("invalid_request_error", "status_transition_invalid"), nil, "status_transition_invalid"},
		{"refused without a code", 400, refusal("invalid_request_error", ""), nil, "invalid_request_error"},
		{"refused with a text for a code", 402, refusal("Your planted card", "was: declined"), nil, "unknown"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			c := dial(t, s.URL, nil)
			got, err := c.Retrieve(context.Background(), "", id)
			var refused *verification.StripeRefusedError
			switch {
			case test.refused != "" && (!errors.As(err, &refused) || refused.Code != test.refused):
				t.Errorf("error %v, want refused: %s", err, test.refused)
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "planted") {
				t.Errorf("the error passes on Stripe's text: %v", err)
			}
			if got != (verification.Retrieved{}) {
				t.Errorf("an answer beside the error: %+v", got)
			}
			if len(s.seen()) != 1 {
				t.Errorf("%d requests: the library retried", len(s.seen()))
			}
			isError := strings.Contains(c.logs.String(), `"level":"ERROR"`)
			if isError != errors.Is(test.want, verification.ErrStripeUnauthorized) {
				t.Errorf("log:\n%s", c.logs)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, always(200, encode(session(nil))))
	s := serve(t, func(w http.ResponseWriter, _ call) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "{}")
	})
	if _, err := dial(t, s.URL, nil).Retrieve(context.Background(), "", id); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("error %v", err)
	}
	if len(elsewhere.seen()) != 0 {
		t.Error("the key went elsewhere")
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	_ = listener.Close()
	c := dial(t, base, nil)
	if _, err := c.FindByReference(context.Background(), "planted-reference"); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("error %v", err)
	}
	if log := c.logs.String(); !strings.Contains(log, "refused") {
		t.Errorf("the log does not say why: %s", log)
	}
}

func TestConnectionBreaks(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ call) {
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, `{"id":"planted`)
		panic(http.ErrAbortHandler)
	})
	if _, err := dial(t, s.URL, nil).Retrieve(context.Background(), "", id); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("error %v", err)
	}
}

// stalled starts a server that answers only when the test is over.
func stalled(t *testing.T) (*server, <-chan struct{}) {
	over, arrived := make(chan struct{}), make(chan struct{}, 10)
	s := serve(t, func(w http.ResponseWriter, _ call) {
		arrived <- struct{}{}
		<-over
	})
	t.Cleanup(func() { close(over) })
	return s, arrived
}

func TestCallersDeadline(t *testing.T) {
	s, _ := stalled(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := dial(t, s.URL, nil).Retrieve(ctx, "", id)
	if !errors.Is(err, verification.ErrStripeUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestCallerGivesUp(t *testing.T) {
	s, arrived := stalled(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		await.One(t, arrived)
		cancel()
	}()
	_, err := dial(t, s.URL, nil).Retrieve(ctx, "", id)
	if !errors.Is(err, verification.ErrStripeUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Our own timeout is Stripe's trouble, not the caller's deadline.
func TestOwnTimeout(t *testing.T) {
	s, _ := stalled(t)
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.Timeout = 50 * time.Millisecond })
	_, err := c.Retrieve(context.Background(), "", id)
	if !errors.Is(err, verification.ErrStripeUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if c.observed() != "retrieve:unavailable" || !strings.Contains(c.logs.String(), `"cause":"timeout"`) {
		t.Errorf("observed %s, log %s", c.observed(), c.logs)
	}
}

func TestExpiredContextDoesNotCall(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := dial(t, s.URL, nil).Retrieve(ctx, "", id)
	if !errors.Is(err, verification.ErrStripeUnavailable) || !errors.Is(err, context.Canceled) || len(s.seen()) != 0 {
		t.Errorf("error %v, %d calls", err, len(s.seen()))
	}
}

// G10: the key, links, client secrets and bodies are in no log, neither ours nor stripe-go's own, in
// success and in every kind of failure. dial checks our log.
func TestNothingSecretIsLogged(t *testing.T) {
	written := captureStderr(t, func() {
		for _, answer := range []func(http.ResponseWriter, call){
			always(200, encode(session(nil))),
			always(200, `{"id":"vs_1","client_secret":"planted`),
			always(400, refusal("invalid_request_error", "parameter_unknown")),
			always(401, encode(fields{"error": fields{"type": "invalid_request_error", "message": "Invalid API Key provided: " + key}})),
			always(500, encode(session(nil))),
			always(502, "<html>planted</html>"),
		} {
			s := serve(t, answer)
			c := dial(t, s.URL, nil)
			_, _ = c.Retrieve(context.Background(), "", id)
			_, _ = c.FindByReference(context.Background(), "planted-reference")
			_, _ = c.CreateLike(context.Background(), "", id, "https://planted.example/back")
		}
	})
	if written != "" {
		t.Errorf("written to stderr:\n%s", written)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]stripeapi.Config{
		"key with a line end":   {Key: keyed(key + "\n")},
		"base without a scheme": {Key: keyed(key), Base: "localhost:12111"},
		"base of a file":        {Key: keyed(key), Base: "file:///etc/passwd"},
		"base with a user":      {Key: keyed(key), Base: "https://u:planted@api.stripe.com"},
		"base with a query":     {Key: keyed(key), Base: "https://api.stripe.com?x=planted"},
		"negative rate":         {Key: keyed(key), RatePerSecond: -1},
		"negative budget":       {Key: keyed(key), ReadsPerDay: -1},
		"negative timeout":      {Key: keyed(key), Timeout: -1},
	} {
		if _, err := stripeapi.New(config); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := stripeapi.New(stripeapi.Config{}); !errors.Is(err, verification.ErrStripeNotConfigured) {
		t.Errorf("no key: error %v", err)
	}
	if _, err := stripeapi.New(stripeapi.Config{Key: keyed("")}); !errors.Is(err, verification.ErrStripeNotConfigured) {
		t.Errorf("an empty key: error %v", err)
	}
	if _, err := stripeapi.New(stripeapi.Config{Key: keyed(key)}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
