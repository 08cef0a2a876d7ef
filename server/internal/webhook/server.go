package webhook

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns a server for the webhook listener, which is open to the internet. Every phase of a connection has a deadline, so
// that slow clients cannot hold it. It speaks HTTP/1.1 only: Stripe needs no more, and the attacks on HTTP/2 do not apply. The
// caller runs it and shuts it down.
func NewServer(addr string, handler http.Handler, logger *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		// Broken connections and handshakes, which are normal on the internet.
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
