package sse

import (
	"log/slog"
	"sync"
	"time"
)

// The least time between two log lines of an outage: while it lasts, and when another one follows.
const (
	logWhile = time.Minute
	logAfter = 5 * time.Second
)

// outage logs that watches are interrupted: the service cannot be reached, or it has ended a stream. One outage can interrupt
// thousands of watches: it makes one line, and one more a minute while further watches are interrupted.
type outage struct {
	mu     sync.Mutex
	stale  int       // interrupted watches
	logged time.Time // the time of the last line
}

// begin counts an interrupted watch.
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
		logger.Warn("sse: a watch was interrupted; its page shows stale data and the watch retries", "error", err, "stale_streams", o.stale)
	}
}

// end counts a watch that the service answers again, or that has ended.
func (o *outage) end(logger *slog.Logger, answered bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stale--; o.stale == 0 && answered {
		logger.Info("sse: the service answers all watches again")
	}
}
