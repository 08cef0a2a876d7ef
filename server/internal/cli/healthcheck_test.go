package cli

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("not ready: planted\n"))
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1") // never asked
	addr := server.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ask := func(addr string, timeout time.Duration) error {
		return (&healthcheckCommand{AdminAddr: addr, Timeout: timeout}).Run(t.Context())
	}
	for _, addr := range []string{addr, ":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		if err := ask(addr, 10*time.Second); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := ask(addr, 10*time.Second); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "not ready: planted") {
		t.Errorf("not ready: %v", err)
	}
	for _, wrong := range []healthcheckCommand{{AdminAddr: "nothing", Timeout: time.Second}, {AdminAddr: addr}} {
		if err := wrong.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "ADMIN_ADDR") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	server.Close()
	if err := ask(addr, 10*time.Second); err == nil || !strings.Contains(err.Error(), "cannot be asked") {
		t.Errorf("without a server: %v", err)
	}
}

// The command does not wait longer than its timeout for a server that accepts the connection and sends nothing.
func TestHealthcheckOfAServerThatHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = (&healthcheckCommand{AdminAddr: listener.Addr().String(), Timeout: 50 * time.Millisecond}).Run(ctx)
	if err == nil || ctx.Err() != nil {
		t.Errorf("got %v, and the test's own timeout: %v", err, ctx.Err())
	}
}
