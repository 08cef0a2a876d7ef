package sse

import (
	"log/slog"
	"sync"
	"time"
)

// How often an outage is logged: while it lasts, and when another one follows.
const (
	logWhile = time.Minute
	logAfter = 5 * time.Second
)

// outage logs that watches have lost the service. One outage interrupts thousands of watches at once: it
// makes one line, and one more a minute while further watches are interrupted.
type outage struct {
	mu     sync.Mutex
	stale  int       // watches without the service now
	logged time.Time // last
}

// begin counts a watch that lost the service.
func (o *outage) begin(logger *slog.Logger, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stale++
	pause := logAfter
	if o.stale > 1 {
		pause = logWhile
	}
	if now := time.Now(); now.Sub(o.logged) >= pause {
		o.logged = now
		logger.Warn("sse: a watch is interrupted; its page is told that it is stale, and the watch tries again", "error", err, "stale_streams", o.stale)
	}
}

// end counts a watch that the service answers again, or whose browser is gone.
func (o *outage) end(logger *slog.Logger, answered bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stale--; o.stale == 0 && answered {
		logger.Info("sse: all watches are answered again")
	}
}
