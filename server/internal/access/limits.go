package access

import (
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"example.com/verification-status/server/internal/shares"
)

// maxPrincipals bounds how many callers have a rate limiter. A further one evicts the limiter of the caller whose last call
// is the oldest, and that caller then has its full burst again. Callers cannot make up names: an authority or the operator
// gives them.
const maxPrincipals = 10_000

// limits limit each caller and all callers together.
type limits struct {
	rate  rate.Limit // 0: any
	burst int
	now   func() time.Time

	mu      sync.Mutex
	callers *lru.Cache[string, *rate.Limiter]

	streams, health *shares.Pot
	each            string // the setting that bounds the streams of one caller
}

func newLimits(config Config) *limits {
	callers, err := lru.New[string, *rate.Limiter](maxPrincipals)
	if err != nil {
		panic(err) // only for a size below 1
	}
	share := shares.Of(config.MaxStreams, config.SharePercent)
	streams, setting := share, "CALLER_SHARE_PERCENT"
	if config.MaxStreamsEach > 0 {
		streams, setting = config.MaxStreamsEach, "CALLER_MAX_STREAMS"
	}
	return &limits{
		rate: rate.Limit(config.Rate), burst: config.Rate, now: time.Now, callers: callers,
		streams: shares.New(config.MaxStreams, streams), health: shares.New(config.MaxStreams, share), each: setting,
	}
}

// call counts a call against its caller's rate. If the caller is over its rate, ok is false and after is the time until a
// call is allowed. A refused call is not counted, so that it does not delay the next one.
func (l *limits) call(principal string) (after time.Duration, ok bool) {
	if l.rate == 0 {
		return 0, true
	}
	now := l.now()
	reservation := l.limiter(principal).ReserveN(now, 1)
	if after = reservation.DelayFrom(now); after > 0 {
		reservation.CancelAt(now)
		return after, false
	}
	return 0, true
}

func (l *limits) limiter(principal string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, known := l.callers.Get(principal)
	if !known {
		limiter = rate.NewLimiter(l.rate, l.burst)
		l.callers.Add(principal, limiter)
	}
	return limiter
}

// openStream counts a stream until leave, which is called once. It refuses a stream that is over a limit.
func (l *limits) openStream(holder shares.Holder) (leave func(), refused *refusal) {
	unit, err := l.streams.Take(holder, nil)
	switch {
	case errors.Is(err, shares.ErrShare):
		return nil, tooManyStreams(holder.String()+" has its share of the streams of this server open; end one first", l.each)
	case err != nil:
		return nil, tooManyStreams("this server has as many streams open as it may; try another replica", "GRPC_MAX_STREAMS")
	}
	return unit.Release, nil
}

// watchHealth counts a health watch until leave, which is called once. It refuses one that is over a limit. Health watches
// have a pot of their own: unauthenticated callers may open them, and clients take a server whose health they cannot watch
// for dead. evict ends the watch of an unauthenticated caller for another one.
func (l *limits) watchHealth(holder shares.Holder, evict func()) (leave func(), refused *refusal) {
	unit, err := l.health.Take(holder, evict)
	switch {
	case errors.Is(err, shares.ErrShare):
		return nil, tooManyStreams(holder.String()+" has its share of the health watches of this server open; end one first", "CALLER_SHARE_PERCENT")
	case err != nil:
		return nil, tooManyStreams("this server has as many health watches open as it may; try another replica", "GRPC_MAX_STREAMS")
	}
	return unit.Release, nil
}
