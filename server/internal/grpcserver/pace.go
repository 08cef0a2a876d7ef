package grpcserver

import (
	"time"

	"golang.org/x/time/rate"
)

// A connection pays for each call that a flood can consist of: a call of no caller (without valid credentials, of an unknown method, or with
// headers that gRPC refuses), and a call that is reset soon after its start. Beyond a rate, the connection is read slowly, so that the calls wait
// in the client. Nothing is created for them meanwhile, none is refused, and a connection that has admitted a call stays open: a proxy can share
// it between callers.
const (
	// newcomerCall: of no caller, on a connection that has admitted no call yet.
	newcomerCall = iota
	// sharedCall: of no caller, on a connection that has admitted a call. Behind a proxy the calls of callers wait with it, so more are read.
	sharedCall
	// resetCall: reset within soon. An honest client resets many calls at once if its own callers leave, or if a network that stood still lets
	// a thousand calls arrive after their deadlines. Its rate must be above all of that: a client that is read more slowly than it sends has
	// each further call read too late.
	resetCall
	charges
)

// soon is the age below which a call counts when it is reset. The age is known to one more second.
const soon = time.Second

// tariff is what passes of one kind of calls. A call within free never waits for other connections: a probe is served during a flood.
type tariff struct {
	each, free, all                rate.Limit // calls a second: of a connection; of these without a wait for others; of all connections together
	eachBurst, freeBurst, allBurst int
}

var tariffs = [charges]tariff{
	newcomerCall: {each: 50, eachBurst: 100, free: 1, freeBurst: 10, all: 2000, allBurst: 2000},
	sharedCall:   {each: 2000, eachBurst: 2000, free: 20, freeBurst: 100, all: 4000, allBurst: 4000},
	resetCall:    {each: 5000, eachBurst: 5000, free: 100, freeBurst: 1000, all: 10_000, allBurst: 10_000},
}

// lines have what all connections of a server share, one for each kind of calls. They are safe for concurrent use.
type lines [charges]*rate.Limiter

func newLines() *lines {
	var l lines
	for kind, t := range tariffs {
		l[kind] = rate.NewLimiter(t.all, t.allBurst)
	}
	return &l
}

// pace is the account of a connection. Only the goroutine that reads the connection uses it.
type pace struct {
	lines      *lines
	each, free [charges]*rate.Limiter // nil: no such call so far
}

// longestWait bounds a pause. It is shorter than the time after which a client takes a silent connection for dead. The debt of a line has the
// same bound: a connection that has gone must not make others wait.
const longestWait = 5 * time.Second

// reserve takes a token and returns how long to wait for it. It takes none that comes only after longestWait, and returns that.
func reserve(line *rate.Limiter, now time.Time) time.Duration {
	token := line.ReserveN(now, 1)
	wait := token.DelayFrom(now)
	if wait > longestWait {
		token.CancelAt(now)
		return longestWait
	}
	return wait
}

// pay returns how long the connection has to wait after n calls of a kind: longestWait at the most.
func (p *pace) pay(kind, n int) (wait time.Duration) {
	if n > 0 && p.each[kind] == nil {
		t := tariffs[kind]
		p.each[kind], p.free[kind] = rate.NewLimiter(t.each, t.eachBurst), rate.NewLimiter(t.free, t.freeBurst)
	}
	now := time.Now()
	for range n {
		wait = max(wait, reserve(p.each[kind], now))
		if !p.free[kind].AllowN(now, 1) {
			wait = max(wait, reserve(p.lines[kind], now))
		}
	}
	return wait
}

// ages knows which calls of a connection are young: their ids ascend. Only one goroutine may use it.
type ages struct {
	uncharged       int       // calls that were begun and not yet counted as reset
	last            uint32    // the greatest id so far
	before, earlier uint32    // last at since, and at least soon before that
	since           time.Time // zero: no call so far
}

// begun records a call.
func (a *ages) begun(id uint32, now time.Time) {
	a.pass(now)
	a.last = max(a.last, id)
	a.uncharged++
}

// reset reports whether the reset of a call counts: the call is young, and no more resets count than calls were begun. A client can send any
// number of resets, of calls that it never began too.
func (a *ages) reset(id uint32, now time.Time) bool {
	if id > a.last || a.uncharged == 0 || !a.isYoung(id, now) {
		return false
	}
	a.uncharged--
	return true
}

// isYoung reports whether a call began within soon, or up to twice of it.
func (a *ages) isYoung(id uint32, now time.Time) bool {
	a.pass(now)
	return id > a.earlier
}

func (a *ages) pass(now time.Time) {
	switch passed := now.Sub(a.since); {
	case passed >= 2*soon:
		a.earlier, a.before, a.since = a.last, a.last, now
	case passed >= soon:
		a.earlier, a.before, a.since = a.before, a.last, now
	}
}
