package telemetry

import (
	"context"
	"log/slog"
	"path"
	"sync"
	"time"
)

// shedWarnEvery is how often the log is told of one limit: what others cause at will must not fill it.
const shedWarnEvery = time.Minute

// Shedding is told of all that is turned away because a limit is reached. It counts everything, and
// warns of each limit once a minute.
type Shedding struct {
	metrics   *Metrics
	logger    *slog.Logger
	principal func(context.Context) string

	mu     sync.Mutex
	limits map[string]*shedLimit // by setting
}

// shedLimit is what the log was told of one limit.
type shedLimit struct {
	warned time.Time
	since  int // how many were turned away since then
}

// NewShedding makes a Shedding. principal tells who makes the call that a context belongs to; empty where nobody knows.
func NewShedding(metrics *Metrics, logger *slog.Logger, principal func(context.Context) string) *Shedding {
	return &Shedding{metrics: metrics, logger: logger, principal: principal, limits: map[string]*shedLimit{}}
}

// Shed notes one that is turned away. what is a gRPC method, "webhook" or "connection"; setting is the
// one that holds the limit. ctx is that of a call, for its request id. It may be called by many
// goroutines at once.
func (s *Shedding) Shed(ctx context.Context, what, setting string) {
	what = path.Base(what)
	s.metrics.Shed(what, setting)
	s.logger.DebugContext(ctx, "turned away: a limit is reached", "setting", setting, "what", what)
	count := s.due(setting, time.Now())
	if count == 0 {
		return
	}
	args := []any{"setting", setting, "what", what, "turned_away", count}
	if principal := s.principal(ctx); principal != "" {
		args = append(args, "principal", principal)
	}
	s.logger.WarnContext(ctx, "a limit is reached, what comes beyond it is turned away: too many come, or the store is slow; further ones of this minute are only counted", args...)
}

// due is how many were turned away since the log was told of a limit, if it is time to tell it again;
// else 0.
func (s *Shedding) due(setting string, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, known := s.limits[setting]
	if !known {
		limit = &shedLimit{}
		s.limits[setting] = limit
	}
	limit.since++
	if now.Sub(limit.warned) < shedWarnEvery {
		return 0
	}
	count := limit.since
	limit.warned, limit.since = now, 0
	return count
}
