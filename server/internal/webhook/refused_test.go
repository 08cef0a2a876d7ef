package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/webhook"
)

// pipeline sends a request several times over one connection, without waiting for answers. It returns the answers that came until the server
// closed the connection, or until there were as many as requests.
func (e *endpoint) pipeline(t *testing.T, request string, times int) (answers []*http.Response) {
	t.Helper()
	connection, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(connection, strings.Repeat(request, times)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	for range times {
		answer, err := http.ReadResponse(reader, nil)
		switch {
		case isTimeout(err):
			t.Fatalf("after %d answers: the connection is open, and no answer comes", len(answers))
		case err != nil: // closed, or reset because of the requests that were not read
			return answers
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		answers = append(answers, answer)
	}
	return answers
}

// signed returns a request with a body and its signature.
func signed(body, signature string) string {
	return fmt.Sprintf("%sStripe-Signature: %s\r\nContent-Length: %d\r\n\r\n%s", requestHead, signature, len(body), body)
}

// TestARefusedRequestEndsItsConnection: each further refused request costs its client a connection. Otherwise a client without the secret
// could have hundreds of thousands of requests refused in a second over a few connections.
func TestARefusedRequestEndsItsConnection(t *testing.T) {
	good := sign(verifiedEvent, now, secret)
	for _, test := range []struct {
		name, request string
		reason        webhook.Reason
	}{
		{"another path", "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n", webhook.ReasonWrongPath},
		{"another path, with a body", strings.Replace(signed(verifiedEvent, good), "/webhook", "/nope", 1), webhook.ReasonWrongPath},
		{"another method", "GET /webhook HTTP/1.1\r\nHost: x\r\n\r\n", webhook.ReasonWrongMethod},
		{"no signature", requestHead + "Content-Length: 2\r\n\r\n{}", webhook.ReasonNotSigned},
		{"a malformed signature", signed(verifiedEvent, "v1=1"), webhook.ReasonMalformedSignature},
		{"a wrong signature", signed(verifiedEvent, sign(verifiedEvent, now, another)), webhook.ReasonWrongSignature},
		{"an old signature", signed(verifiedEvent, sign(verifiedEvent, now.Add(-time.Hour), secret)), webhook.ReasonTooOld},
		{"a future signature", signed(verifiedEvent, sign(verifiedEvent, now.Add(time.Hour), secret)), webhook.ReasonInFuture},
		{"a malformed chunk", requestHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", webhook.ReasonUnreadable},
		{"a body that is too large", signed(strings.Repeat("x", 256<<10+1), good), webhook.ReasonTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := start(t, nil)
			answers := e.pipeline(t, test.request, 3)
			if result := e.result(t); result.Reason != test.reason {
				t.Errorf("the first request: %s, want %s", result.Reason, test.reason)
			}
			if len(answers) != 1 || !answers[0].Close || len(e.results) != 0 {
				t.Errorf("%d answers and %d further results, want one answer with Connection: close, and no further result", len(answers), len(e.results))
			}
		})
	}
}

// TestASignedRequestKeepsItsConnection: whatever its answer. A proxy has few connections, over which all of Stripe's events come.
func TestASignedRequestKeepsItsConnection(t *testing.T) {
	good := signed(verifiedEvent, sign(verifiedEvent, now, secret))
	for name, test := range map[string]struct {
		request string
		apply   error
		status  int
	}{
		"kept":             {good, nil, http.StatusOK},
		"not kept":         {good, errors.New("the store is away"), http.StatusServiceUnavailable},
		"malformed":        {signed("hello", sign("hello", now, secret)), nil, http.StatusBadRequest},
		"of other objects": {signed(`{"type":"invoice.paid"}`, sign(`{"type":"invoice.paid"}`, now, secret)), nil, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			e.keeper.fail(func(context.Context) error { return test.apply })
			answers := e.pipeline(t, test.request, 3)
			if len(answers) != 3 {
				t.Fatalf("%d answers, want 3", len(answers))
			}
			for _, answer := range answers {
				if answer.StatusCode != test.status || answer.Close {
					t.Errorf("answer %d, close %v; want %d, false", answer.StatusCode, answer.Close, test.status)
				}
				e.result(t)
			}
		})
	}
}
