package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// raw sends a request byte by byte as given and returns the answer. A write can fail, because the server can have answered and closed the
// connection.
func (e *endpoint) raw(t *testing.T, request io.Reader) *http.Response {
	t.Helper()
	connection, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.Copy(connection, request) }()
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// requestHead begins a request to the webhook.
const requestHead = "POST /webhook HTTP/1.1\r\nHost: x\r\n"

// TestHeaderFloods: MaxHeaderBytes (16 KiB, to which net/http adds 4) stops them before the handler.
func TestHeaderFloods(t *testing.T) {
	for name, headers := range map[string]string{
		"one great header":         "X-A: " + strings.Repeat("a", 64<<10) + "\r\n",
		"ten thousand headers":     strings.Repeat("A:\r\n", 10_000),
		"20,000 signatures":        "Stripe-Signature: t=1790000300" + strings.Repeat(",v1=00", 20_000) + "\r\n",
		"20,000 signature headers": strings.Repeat("Stripe-Signature: t=1,v1=00\r\n", 20_000),
		"a header without an end":  "X-A: " + strings.Repeat("a", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			answer := e.raw(t, strings.NewReader(requestHead+headers+"\r\n"))
			if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge || len(e.results) != 0 {
				t.Errorf("answer %s, %d requests reached the handler", answer.Status, len(e.results))
			}
		})
	}
}

// TestAsManySignaturesAsMayBe: the largest header that is checked costs one HMAC for each secret, not one for each signature in it. A
// larger one (maxSignatures, maxSignatureHeader) costs none.
func TestAsManySignaturesAsMayBe(t *testing.T) {
	body := strings.Repeat("x", 200<<10)
	handler := bareHandler(t, &keeper{})
	work := func(signature string) (allocations float64, bytes uint64) {
		request := func() {
			r := httptest.NewRequest(http.MethodPost, webhook.Path, strings.NewReader(body))
			r.Header.Set("Stripe-Signature", signature)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest {
				t.Errorf("answered %d", w.Code)
			}
		}
		request() // the warning of this minute
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		allocations = testing.AllocsPerRun(20, request)
		runtime.ReadMemStats(&after)
		return allocations, (after.TotalAlloc - before.TotalAlloc) / 21
	}
	wrong := ",v1=" + strings.Repeat("00", 32)
	one, oneBytes := work("t=1790000300" + wrong)
	most, mostBytes := work("t=1790000300" + strings.Repeat(",v1=00", 64)) // within 4 KiB too
	tooMany, tooManyBytes := work("t=1790000300" + strings.Repeat(",v1=00", 65))
	flood, floodBytes := work("t=1790000300" + strings.Repeat(",v1=00", 20_000))
	t.Logf("allocations and bytes for a body of 200 KiB: %.0f, %d with one signature; %.0f, %d with 64; %.0f, %d with 65; %.0f, %d with 20,000",
		one, oneBytes, most, mostBytes, tooMany, tooManyBytes, flood, floodBytes)
	// Each HMAC needs a copy of the body or several objects: 64 of them would show.
	if most > one+3*64 || mostBytes > oneBytes+64<<10 {
		t.Errorf("64 signatures cost %.0f allocations and %d bytes, one costs %.0f and %d", most, mostBytes, one, oneBytes)
	}
	if tooMany > one || flood > one || floodBytes > oneBytes+256<<10 {
		t.Errorf("refused headers cost more than an HMAC: %.0f, %.0f, %d", tooMany, flood, floodBytes)
	}
}

// endless is a chunked body that never ends.
type endless struct{ head io.Reader }

func (r *endless) Read(p []byte) (int, error) {
	if n, err := r.head.Read(p); err == nil {
		return n, nil
	}
	return copy(p, "400\r\n"+strings.Repeat("x", 1024)+"\r\n"), nil
}

// TestEndlessBodies: maxBody (256 KiB) stops them: the answer is 413 and the connection is closed.
func TestEndlessBodies(t *testing.T) {
	for name, headers := range map[string]string{
		"chunks without an end":  "Transfer-Encoding: chunked\r\n\r\n",
		"a gigabyte, as is said": "Content-Length: 1073741824\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			answer := e.raw(t, &endless{head: strings.NewReader(requestHead + headers)})
			if answer.StatusCode != http.StatusRequestEntityTooLarge || !answer.Close {
				t.Errorf("answer %s, close %v", answer.Status, answer.Close)
			}
			if result := e.result(t); result.Reason != webhook.ReasonTooLarge {
				t.Errorf("result %+v", result)
			}
		})
	}
}

// TestMalformedChunksAndLengths: net/http refuses ambiguous requests.
func TestMalformedChunksAndLengths(t *testing.T) {
	for name, rest := range map[string]string{
		"two lengths":          "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"a negative length":    "Content-Length: -1\r\n\r\n",
		"an unknown encoding":  "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a chunk with no size": "Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
		"a chunk too great":    "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n",
		"chunk extensions":     "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("e", 1000)+"\r\nx\r\n", 100) + "0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			answer := e.raw(t, strings.NewReader(requestHead+rest))
			if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusNotImplemented || len(e.keeper.kept()) != 0 {
				t.Errorf("answer %s, %d kept", answer.Status, len(e.keeper.kept()))
			}
		})
	}
}

// TestDeeplyNestedJSON: the body is signed, so that it gets to the decoder. A body with more than the 10,000 levels of encoding/json is
// malformed, another one is decoded. maxBody bounds both.
func TestDeeplyNestedJSON(t *testing.T) {
	nested := func(levels int) string {
		return eventAs(`"object":"event"`, `"object":"event","deep":`+strings.Repeat("[", levels)+strings.Repeat("]", levels))
	}
	for _, test := range []struct {
		name   string
		body   string
		status int
		reason webhook.Reason
	}{
		{"9,000 levels", nested(9_000), 200, webhook.ReasonApplied},
		{"100,000 levels", nested(100_000), 400, webhook.ReasonMalformed},
		{"250,000 levels without an end", strings.Repeat("[", 250_000), 400, webhook.ReasonMalformed},
		{"objects without an end", strings.Repeat(`{"a":`, 50_000), 400, webhook.ReasonMalformed},
		{"100,000 fields", eventAs(`"object":"event"`, `"object":"event"`+strings.Repeat(`,"":0`, 50_000)), 200, webhook.ReasonApplied},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := start(t, nil)
			checkAnswer(t, e.post(t, test.body, sign(test.body, now, secret)), test.status, test.reason)
		})
	}
}

// TestNoUpgrade: this port refuses HTTP/2, however a client asks for it.
func TestNoUpgrade(t *testing.T) {
	e := start(t, nil)
	answer := e.raw(t, strings.NewReader("GET /webhook HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"))
	if answer.StatusCode != http.StatusMethodNotAllowed || answer.ProtoMajor != 1 {
		t.Errorf("answer %s %s", answer.Proto, answer.Status)
	}
	e.result(t)
}

// bareHandler is a handler without a server.
func bareHandler(t *testing.T, keeper *keeper, change ...func(*webhook.Config)) *webhook.Handler {
	t.Helper()
	config := webhook.Config{
		Applier: keeper, Secrets: func() []verification.Secret { return []verification.Secret{secret} },
		Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&config)
	}
	handler, err := webhook.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// TestMaxInFlight: while MaxInFlight events are being applied, others are refused at once, with Retry-After. After that, events are
// accepted again.
func TestMaxInFlight(t *testing.T) {
	const most, refused = 3, 20
	var log bytes.Buffer
	entered, commit := make(chan struct{}), make(chan struct{})
	keeper := &keeper{before: func(context.Context) error {
		entered <- struct{}{}
		<-commit
		return nil
	}}
	results := make(chan webhook.Result, most+refused)
	handler := bareHandler(t, keeper, func(c *webhook.Config) {
		c.MaxInFlight, c.Logger = most, slog.New(slog.NewTextHandler(&log, nil))
		c.Observe = func(r webhook.Result) { results <- r }
	})
	post := func(n int) *httptest.ResponseRecorder {
		body := eventAs("evt_1", fmt.Sprintf("evt_%d", n))
		r := httptest.NewRequest(http.MethodPost, webhook.Path, strings.NewReader(body))
		r.Header.Set("Stripe-Signature", sign(body, now, secret))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	answers := make(chan *httptest.ResponseRecorder, most)
	for n := range most {
		go func() { answers <- post(n) }()
		await.One(t, entered)
	}
	for n := range refused {
		w := post(100 + n) // does not wait: no event is being applied
		if result := await.One(t, results); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || result.Reason != webhook.ReasonOverloaded {
			t.Fatalf("answered %d, %+v", w.Code, result)
		}
	}
	if log.Len() != 0 {
		t.Errorf("the log can be filled: %s", log.String())
	}
	close(commit)
	for range most {
		if w := await.One(t, answers); w.Code != http.StatusOK {
			t.Errorf("an event under way was answered %d", w.Code)
		}
	}
	go func() { <-entered }()
	if w := post(200); w.Code != http.StatusOK || len(keeper.kept()) != most+1 {
		t.Errorf("afterwards: %d, %d kept", w.Code, len(keeper.kept()))
	}
}
