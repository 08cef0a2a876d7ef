package telemetry

import (
	"context"
	"log/slog"
	"path"
	"sync"
	"time"
)

// shedWarnEvery is the time between two warnings about one limit, since callers could fill the log.
const shedWarnEvery = time.Minute

// Shedding counts the requests that are refused because a limit is reached, and logs a warning for each limit once a minute. It is
// safe for concurrent use.
type Shedding struct {
	metrics   *Metrics
	logger    *slog.Logger
	principal func(context.Context) string

	mu     sync.Mutex
	limits map[string]*shedLimit // by setting
}

// shedLimit is the state of the warnings about one limit.
type shedLimit struct {
	warned time.Time
	since  int // how many requests were refused since then
}

// NewShedding returns a Shedding. principal returns the caller of the call that a context belongs to, or "" if it has no name.
func NewShedding(metrics *Metrics, logger *slog.Logger, principal func(context.Context) string) *Shedding {
	return &Shedding{metrics: metrics, logger: logger, principal: principal, limits: map[string]*shedLimit{}}
}

// Shed counts one request that is refused. what is a gRPC method, "call" (of a method that is not known), "webhook" or "connection"; setting
// is the setting that is the limit, or says that it is fixed. ctx is the context of the call, for its request id.
func (s *Shedding) Shed(ctx context.Context, what, setting string) {
	what = path.Base(what)
	s.metrics.Shed(what, setting)
	s.logger.DebugContext(ctx, "limit reached, refused", "setting", setting, "what", what)
	count := s.due(setting, time.Now())
	if count == 0 {
		return
	}
	args := []any{"setting", setting, "what", what, "refused", count}
	if principal := s.principal(ctx); principal != "" {
		args = append(args, "principal", principal)
	}
	s.logger.WarnContext(ctx, "limit reached, refusing: too many requests, or the store is slow; this is logged once a minute for each limit", args...)
}

// due counts a refused request. If a warning about the limit is due, it returns the number of requests that were refused since the
// last one, else 0.
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
