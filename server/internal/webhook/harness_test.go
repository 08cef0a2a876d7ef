package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// A connection that is refused is closed half a second later, so that its client sees the answer; goleak
// waits less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	secret  = "whsec_planted_first"
	another = "whsec_planted_second"
)

// now is the clock of the tests. Events are signed and dated around it, far from the machine's clock.
var now = time.Unix(1_790_000_300, 0)

const verifiedEvent = `{"id":"evt_1","object":"event","api_version":"2026-08-26.dahlia","created":1790000181,` +
	`"livemode":false,"type":"identity.verification_session.verified","data":{"object":{"id":"vs_1",` +
	`"object":"identity.verification_session","status":"verified","type":"document","livemode":false,` +
	`"client_reference_id":"planted-reference","client_secret":"vs_1_secret_planted",` +
	`"url":"https://verify.stripe.com/start/planted",` +
	`"last_error":{"code":"selfie_face_mismatch","reason":"planted reason"},"last_verification_report":"vr_1"}}}`

func eventAs(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(verifiedEvent) }

// sign returns Stripe's signature, computed as its documentation says and without its library.
func sign(body string, at time.Time, secrets ...string) string {
	header := "t=" + strconv.FormatInt(at.Unix(), 10)
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
		header += ",v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	return header
}

// keeper is an Applier that records its events. It calls a function of the test before it returns.
type keeper struct {
	mu     sync.Mutex
	events []verification.Event
	before func(ctx context.Context) error
}

func (k *keeper) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	k.mu.Lock()
	before := k.before
	k.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return verification.Outcome{}, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.events {
		if known.ID == event.ID {
			return verification.Outcome{Duplicate: true}, nil
		}
	}
	k.events = append(k.events, event)
	return verification.Outcome{Effect: verification.EffectApplied, Write: true}, nil
}

func (k *keeper) kept() []verification.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]verification.Event(nil), k.events...)
}

func (k *keeper) fail(before func(ctx context.Context) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = before
}

// endpoint is a handler behind a real server on loopback.
type endpoint struct {
	keeper  *keeper
	results chan webhook.Result
	logs    *buffer
	addr    string
	client  *http.Client
}

func start(t *testing.T, change func(*webhook.Config)) *endpoint {
	t.Helper()
	e := &endpoint{keeper: &keeper{}, results: make(chan webhook.Result, 100), logs: &buffer{}}
	logger := slog.New(slog.NewJSONHandler(e.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := webhook.Config{
		Applier: e.keeper,
		Secrets: func() []verification.Secret { return []verification.Secret{secret} },
		Clock:   func() time.Time { return now },
		Logger:  logger,
		Observe: func(r webhook.Result) { e.results <- r },
	}
	if change != nil {
		change(&cfg)
	}
	handler, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.NewServer(listener.Addr().String(), handler, logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	transport := &http.Transport{}
	e.addr = listener.Addr().String()
	e.client = &http.Client{Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("server: %v", err)
		}
		if log := e.logs.String(); strings.Contains(log, "planted") {
			t.Errorf("a secret, a reference or a reason in the log:\n%s", log)
		}
	})
	return e
}

type response struct {
	status int
	body   string
	header http.Header
	result webhook.Result
}

// post delivers a body. If signature is empty, it sends no header.
func (e *endpoint) post(t *testing.T, body, signature string) response {
	t.Helper()
	return e.do(t, http.MethodPost, webhook.Path, strings.NewReader(body), signature)
}

func (e *endpoint) do(t *testing.T, method, path string, body io.Reader, signatures ...string) response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+e.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, signature := range signatures {
		if signature != "" {
			request.Header.Add("Stripe-Signature", signature)
		}
	}
	answer, err := e.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{answer.StatusCode, string(text), answer.Header, e.result(t)}
}

func (e *endpoint) result(t *testing.T) webhook.Result {
	t.Helper()
	select {
	case result := <-e.results:
		return result
	case <-time.After(10 * time.Second):
		t.Fatal("no result was observed")
		return webhook.Result{}
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
