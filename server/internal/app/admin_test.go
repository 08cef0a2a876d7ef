package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/await"
)

// TestAProfileTakesAtMostThirtySeconds, in whatever form the request gives the seconds.
func TestAProfileTakesAtMostThirtySeconds(t *testing.T) {
	server := newAdminServer(telemetry.NewMetrics(), func() bool { return true }, slog.New(slog.DiscardHandler))
	for _, path := range []string{"goroutine", "heap", "profile", "trace", "", "symbol"} {
		for _, seconds := range []string{"30.5", "31", "600", "+600", "1e9", "1e999", "Inf", "NaN", "0x1p20", "99999999999999999999", "600&seconds=1"} {
			answer := httptest.NewRecorder()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/pprof/"+path+"?seconds="+strings.ReplaceAll(seconds, "+", "%2B"), nil)
			server.Handler.ServeHTTP(answer, request)
			cancel()
			if got := answer.Body.String(); answer.Code != http.StatusBadRequest || !strings.Contains(got, "30") || strings.Count(got, "\n") != 1 {
				t.Errorf("%q, seconds=%s: %d %q; want 400 and one sentence", path, seconds, answer.Code, got)
			}
		}
	}
	for _, query := range []string{"", "?debug=1", "?seconds="} {
		answer := httptest.NewRecorder()
		server.Handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/goroutine"+query, nil))
		if answer.Code != http.StatusOK {
			t.Errorf("goroutine%s: %d %s, want 200", query, answer.Code, answer.Body)
		}
	}
}

// TestProfilesLeaveConnectionsToProbes: as many requests for profiles as the listener has connections. Half of them are refused at once;
// meanwhile the probes and the metrics are answered over new connections.
func TestProfilesLeaveConnectionsToProbes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newAdminServer(telemetry.NewMetrics(), func() bool { return true }, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(connlimit.New(listener, adminMaxConnections, 0, func() {})) }()
	t.Cleanup(func() { _ = server.Close(); await.One(t, ended) })
	address := "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	get := func(ctx context.Context, path string) (int, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
		if err != nil {
			return 0, err
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}
	refused := make(chan error, adminMaxConnections)
	var profiles sync.WaitGroup
	for range adminMaxConnections {
		profiles.Go(func() {
			code, err := get(ctx, "/debug/pprof/goroutine?seconds=30")
			if ctx.Err() == nil && code != http.StatusServiceUnavailable {
				err = fmt.Errorf("%d, %v", code, err)
			}
			if ctx.Err() == nil {
				refused <- err
			}
		})
	}
	for range adminMaxConnections / 2 {
		if err := await.One(t, refused); err != nil {
			t.Errorf("a profile: got %v, want 503", err)
		}
	}
	for range 5 {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			if code, err := get(t.Context(), path); code != http.StatusOK {
				t.Errorf("%s during the profiles: %d, %v", path, code, err)
			}
		}
	}
	stop()
	await.All(t, &profiles)
	// Canceled profiles return their slots.
	limit := time.Now().Add(time.Minute)
	for code := 0; code != http.StatusOK; {
		if code, err = get(t.Context(), "/debug/pprof/goroutine"); time.Now().After(limit) {
			t.Fatalf("after the profiles: %d, %v", code, err)
		}
	}
}
