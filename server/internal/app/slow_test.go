package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/trigger"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

type takesAll struct{}

func (takesAll) Apply(context.Context, verification.Event) (verification.Outcome, error) {
	return verification.Outcome{}, nil
}

// TestSlowClientsAreCutOff: in virtual time, clients of the two HTTP listeners send a byte a second, or nothing, or do not read. Each is
// cut off by the limit in its name.
func TestSlowClientsAreCutOff(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	handler, err := webhook.New(webhook.Config{Applier: takesAll{}, Logger: logger,
		Secrets: func() []verification.Secret { return []verification.Secret{"whsec_1"} }})
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]func() *http.Server{
		"webhook": func() *http.Server { return webhook.NewServer("", handler, logger) },
		"admin": func() *http.Server {
			return newAdminServer(telemetry.NewMetrics(), func() bool { return false }, logger)
		},
	}
	const post = "POST /webhook HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=1,v1=00\r\n"
	const ignored = `{"type":"invoice.paid"}`
	begin := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) // of the virtual time
	good := fmt.Sprintf("POST /webhook HTTP/1.1\r\nHost: x\r\nStripe-Signature: %s\r\nContent-Length: %d\r\n\r\n%s",
		trigger.Sign([]byte(ignored), begin, []string{"whsec_1"}), len(ignored), ignored)
	for _, test := range []struct {
		name, server string
		at           string // sent at once
		drip         string // sent after that, a byte a second
		after        time.Duration
		deaf         bool // does not read
	}{
		{"silent, by ReadHeaderTimeout", "webhook", "", "", 5 * time.Second, false},
		{"slow headers, by ReadHeaderTimeout", "webhook", "POST /webhook HTTP/1.1\r\n", "X-A: a\r\nX-B: b\r\nX-C: c\r\n", 5 * time.Second, false},
		{"slow body, by ReadTimeout", "webhook", post + "Content-Length: 5000\r\n\r\n", strings.Repeat("x", 100), 10 * time.Second, false},
		{"slow chunks, by ReadTimeout", "webhook", post + "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 20), 10 * time.Second, false},
		{"slow body to a wrong path, by ReadTimeout", "webhook", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", strings.Repeat("x", 100), 10 * time.Second, false},
		{"answered and idle, by IdleTimeout", "webhook", good, "", 60 * time.Second, false},
		{"refused, at once", "webhook", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", 0, false},
		{"silent, by ReadHeaderTimeout", "admin", "", "", 5 * time.Second, false},
		{"slow headers, by ReadHeaderTimeout", "admin", "GET /livez HTTP/1.1\r\n", "X-A: a\r\nX-B: b\r\nX-C: c\r\n", 5 * time.Second, false},
		{"slow body, by ReadTimeout", "admin", "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", strings.Repeat("x", 100), 10 * time.Second, false},
		{"answered and idle, by IdleTimeout", "admin", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "", 60 * time.Second, false},
		{"deaf to a long answer, by WriteTimeout", "admin", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "", 30 * time.Second, true},
	} {
		t.Run(test.server+": "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := servers[test.server](), bufconn.Listen(1<<10)
				closed := make(chan time.Time, 1)
				server.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						closed <- time.Now()
					}
				}
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				conn, err := listener.Dial()
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				if !test.deaf {
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				if _, err := io.WriteString(conn, test.at); err != nil {
					t.Fatal(err)
				}
				for i := range len(test.drip) {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, test.drip[i:i+1]); err != nil {
						break
					}
				}
				// The server waits half a second before it closes the connection of a client that still sends.
				if took := (<-closed).Sub(begun); took < test.after || took > test.after+time.Second {
					t.Errorf("cut off after %v; want %v", took, test.after)
				}
				_ = conn.Close()
				_ = server.Close()
				<-served
			})
		})
	}
}
