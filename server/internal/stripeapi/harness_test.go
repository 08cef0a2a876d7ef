package stripeapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key = "sk_test_planted_key"
	id  = "vs_1Old"
)

// date is the Date of the answers: years from this machine's clock.
var date = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

type fields = map[string]any

// session returns a session as Stripe's API answers it.
func session(change fields) fields {
	o := fields{
		"id": id, "object": "identity.verification_session", "client_reference_id": "case-17",
		"client_secret": "vs_1Old_secret_planted", "created": 1790000000,
		"last_error":               fields{"code": "document_expired", "reason": "planted reason"},
		"last_verification_report": "vr_1", "livemode": true, "metadata": fields{},
		"options": fields{"document": fields{}}, "provided_details": nil, "redaction": nil,
		"status": "requires_input", "type": "document", "url": "https://verify.stripe.com/start/planted",
	}
	for name, value := range change {
		o[name] = value
	}
	return o
}

func encode(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// call is a request as the server received it.
type call struct {
	method, path string
	query, form  url.Values
	raw          string
	header       http.Header
}

// server is a hand-made Stripe.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

// serve starts a server. respond writes the answer. Date is set unless respond changes it.
func serve(t *testing.T, respond func(w http.ResponseWriter, c call)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		c := call{r.Method, r.URL.Path, r.URL.Query(), form, string(body), r.Header}
		s.mu.Lock()
		s.calls = append(s.calls, c)
		s.mu.Unlock()
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.Header().Set("Request-Id", "req_test1")
		respond(w, c)
	}))
	t.Cleanup(s.Close)
	return s
}

// always gives the same answer to every request.
func always(status int, body string) func(http.ResponseWriter, call) {
	return func(w http.ResponseWriter, _ call) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (s *server) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// client is a Client with its log and its observed outcomes.
type client struct {
	*stripeapi.Client
	logs *buffer
	mu   sync.Mutex
	seen []string
}

func (c *client) observed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.seen, " ")
}

// keyed returns a key that never changes.
func keyed(key verification.Secret) func() verification.Secret {
	return func() verification.Secret { return key }
}

// dial returns a client. It fails the test at the end if the log contains anything planted.
func dial(t *testing.T, base string, change func(*stripeapi.Config)) *client {
	t.Helper()
	c := &client{logs: &buffer{}}
	config := stripeapi.Config{
		Key: keyed(key), Base: base, RatePerSecond: 10_000,
		Logger: slog.New(slog.NewJSONHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe: func(operation stripeapi.Operation, outcome stripeapi.Outcome) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.seen = append(c.seen, fmt.Sprintf("%s:%s", operation, outcome))
		},
	}
	if change != nil {
		change(&config)
	}
	var err error
	if c.Client, err = stripeapi.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if log := c.logs.String(); strings.Contains(log, "planted") {
			t.Errorf("something secret in the log:\n%s", log)
		}
	})
	return c
}

// captureStderr returns what fn writes to os.Stderr, which is where stripe-go logs by default.
func captureStderr(t *testing.T, fn func()) string {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = writer
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(reader)
		read <- string(text)
	}()
	func() {
		defer func() { os.Stderr = old }()
		fn()
	}()
	_ = writer.Close()
	text := await.One(t, read)
	_ = reader.Close()
	return text
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
