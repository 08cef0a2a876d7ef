package app

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/telemetry"
)

// newAdminServer returns the server for operators. It must not be reachable from the internet.
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
	mux.Handle("GET /debug/pprof/", limitProfiles(newProfiles()))
	return &http.Server{
		Handler:           holdConn(mux),
		ConnContext:       connlimit.ConnContext,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // pprof adds the seconds of the profile, at most maxProfileSeconds
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// newProfiles returns the handler of pprof.
func newProfiles() http.Handler {
	mux := http.NewServeMux()
	// Not /debug/pprof/cmdline: it would show secrets that are given as flags.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func writeLine(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
