package app

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/telemetry"
)

// newAdminServer serves what only operators may see: it must never face the internet.
func newAdminServer(m *telemetry.Metrics, ready func() bool, logger *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeLine(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			writeLine(w, http.StatusServiceUnavailable, "not ready: Redis cannot be used, or the server is stopping; the log says more")
			return
		}
		writeLine(w, http.StatusOK, "ok")
	})
	// Not /debug/pprof/cmdline: where secrets are given as flags, it shows them.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler:           held(mux),
		ConnContext:       connlimit.ConnContext,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // pprof adds the seconds that were asked for
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

func writeLine(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
