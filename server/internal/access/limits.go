package access

import (
	"net"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// maxPrincipals bounds how many callers' rates are remembered. Beyond it those who called longest ago
// begin anew. Callers cannot make up names: an authority or the operator gives them.
const maxPrincipals = 10_000

// maxHealthEach is how many health watches one connection may have. A client has one; a proxy, one for
// each client behind it. Without this bound a stranger takes all places from one or two connections, and
// clients that watch the server's health before they call take it for dead.
const maxHealthEach = 100

// limits are how much each caller, and all of them, may do.
type limits struct {
	rate      rate.Limit // 0: any
	burst     int
	each, all int // streams; each 0: any
	now       func() time.Time

	mu      sync.Mutex
	callers *lru.Cache[string, *rate.Limiter]
	streams map[string]int // open ones by principal, above 0
	open    int
	health  int
	healthy map[net.Addr]int // health watches by connection, above 0
}

func newLimits(config Config) *limits {
	callers, err := lru.New[string, *rate.Limiter](maxPrincipals)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &limits{
		rate: rate.Limit(config.Rate), burst: config.Rate, each: config.MaxStreamsEach, all: config.MaxStreams,
		now: time.Now, callers: callers, streams: map[string]int{}, healthy: map[net.Addr]int{},
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

// watchHealth counts a health watch until leave is called, once, or refuses it. These have places of
// their own: who has no credentials cannot take those of others.
func (l *limits) watchHealth(connection net.Addr) (leave func(), refused *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.health >= l.all {
		return nil, tooManyStreams("this server has as many health watches open as it may", "GRPC_MAX_STREAMS")
	}
	if l.healthy[connection] >= maxHealthEach {
		return nil, tooManyStreams("this connection has as many health watches open as it may", "none: it is fixed for health watches of a connection")
	}
	l.health++
	l.healthy[connection]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.health--
		if l.healthy[connection]--; l.healthy[connection] == 0 {
			delete(l.healthy, connection)
		}
	}, nil
}

// enter counts a stream until leave is called, once, or refuses it.
func (l *limits) enter(principal string) (leave func(), refused *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.all {
		return nil, tooManyStreams("this server has as many streams open as it may; try another replica", "GRPC_MAX_STREAMS")
	}
	if l.each > 0 && principal != "" && l.streams[principal] >= l.each {
		return nil, tooManyStreams(principal+" has as many streams open as it may; end one first", "CALLER_MAX_STREAMS")
	}
	l.open++
	l.streams[principal]++
	return func() { l.leave(principal) }, nil
}

func (l *limits) leave(principal string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.streams[principal]--; l.streams[principal] == 0 {
		delete(l.streams, principal)
	}
}
