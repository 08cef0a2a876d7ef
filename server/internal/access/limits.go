package access

import (
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"example.com/verification-status/server/internal/shares"
)

// maxPrincipals bounds how many callers' rates are remembered. Beyond it those who called longest ago
// begin anew. Callers cannot make up names: an authority or the operator gives them.
const maxPrincipals = 10_000

// limits are how much each caller, and all of them, may do.
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

// call counts a call against its caller's rate. Where it is one too many, ok is false, and after says
// when there is room for one. It is not counted then: who is refused is not kept out for longer.
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

// enter counts a stream until leave is called, once, or refuses it.
func (l *limits) enter(holder shares.Holder) (leave func(), refused *refusal) {
	unit, err := l.streams.Take(holder, nil)
	switch {
	case errors.Is(err, shares.ErrShare):
		return nil, tooManyStreams(holder.String()+" has its share of the streams of this server open; end one first", l.each)
	case err != nil:
		return nil, tooManyStreams("this server has as many streams open as it may; try another replica", "GRPC_MAX_STREAMS")
	}
	return unit.Release, nil
}

// watchHealth counts a health watch until leave is called, once, or refuses it. Health watches have a pot of
// their own, since callers without credentials may open them, and clients take a server whose health they
// cannot watch for dead. evict ends the watch of such a caller when it makes room for another one.
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
