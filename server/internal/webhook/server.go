package webhook

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns a server for the webhook listener, which faces the internet. Every phase of a
// connection has a deadline, so that slow clients cannot hold it. HTTP/1.1 is all that Stripe needs;
// without HTTP/2 its resets and floods are nobody's business here. The caller runs it and shuts it
// down.
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
		// Broken connections and handshakes: everyday noise on the internet.
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
