package fair

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// envIsAttacker makes this test program an attacker, with orders on its standard input.
	envIsAttacker = "FAIR_ATTACKER"
	// begunLine is the line that an attacker prints when it has its hold.
	begunLine = "begun\n"
	// attackersAddress is the address that attackers call from. Others have other addresses, as in reality: a limit
	// by address must not hit them.
	attackersAddress = "127.0.9.9"
	// Attacks that are about the BFF's limits by address have addresses of their own, of which no attack before has used up the limit.
	neededLinksAddress, signUpsAddress = "127.0.8.1", "127.0.8.2"

	// longestAttack bounds an attacker that is not stopped, and beginsWithin the time until it says that it
	// has begun: it might never get all that it asks for.
	longestAttack = 15 * time.Minute
	beginsWithin  = 20 * time.Second
)

// orders are the first line of an attacker's input.
type orders struct {
	Attack                    string
	GRPC, BFF, CA             string // addresses, and the file of the authority
	Reader, Retrier           string // tokens
	Verified, Granted, Cookie string // sessions, and the cookie of a person whose session is verified
	Many                      []string
	Begun                     []string // cookies of persons who have begun, and need a link to continue
	Connections               int      // of attacks that hold many, 100 streams each
	Seed                      uint64
}

// attacker is one attack under way, in a process of its own.
type attacker struct {
	orders
	ctx  context.Context
	stop context.CancelFunc

	first  func() // called with the first outcome of a call; nil for attacks that hold something
	mu     sync.Mutex
	counts map[string]int // calls by their outcome
}

// runAttacker attacks until the input ends, and prints its counts.
func runAttacker(in io.Reader, out io.Writer) (code int) {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	a := &attacker{counts: map[string]int{}}
	if err != nil || json.Unmarshal(line, &a.orders) != nil {
		return 2
	}
	attack, known := attacks[a.Attack]
	if !known {
		return 2
	}
	a.ctx, a.stop = context.WithTimeout(context.Background(), longestAttack)
	defer a.stop()
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		a.stop()
	}()
	attack(a, sync.OnceFunc(func() { fmt.Fprint(out, begunLine) }))
	a.mu.Lock()
	defer a.mu.Unlock()
	return map[bool]int{true: 0, false: 1}[json.NewEncoder(out).Encode(a.counts) == nil]
}

// count counts one call by its outcome.
func (a *attacker) count(outcome string) {
	a.mu.Lock()
	a.counts[outcome]++
	a.mu.Unlock()
	if a.first != nil {
		a.first()
	}
}

// paced is the pause of each of n workers that together make 5,000 calls a second at most: an attack is to
// show a limit that the server divides badly, not the number of this machine's cores.
func paced(n int) time.Duration { return time.Duration(n) * 200 * time.Microsecond }

// loop runs n workers that repeat one step until the attack ends. They begin one after the other.
func (a *attacker) loop(n int, pause time.Duration, do func(worker int, rng *rand.Rand)) {
	var running sync.WaitGroup
	for worker := range n {
		rng := rand.New(rand.NewPCG(a.Seed, uint64(worker)))
		running.Go(func() {
			for a.wait(paced(worker)); a.ctx.Err() == nil; {
				do(worker, rng)
				a.wait(pause/2 + rand.N(pause))
			}
		})
	}
	running.Wait()
}

// hold runs n workers that each keep one stream or connection open until the attack ends: open returns when
// it is lost. The attack has begun when each worker has called opened, or open has returned, once.
func (a *attacker) hold(n int, pause time.Duration, begun func(), open func(worker int, opened func())) {
	var first sync.WaitGroup
	first.Add(n)
	all := make(chan struct{})
	go func() {
		first.Wait()
		close(all)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-all:
		case <-time.After(beginsWithin):
		case <-a.ctx.Done():
		}
		begun()
	}()
	once := make([]sync.Once, n)
	a.loop(n, pause, func(worker int, _ *rand.Rand) {
		opened := func() { once[worker].Do(first.Done) }
		open(worker, opened)
		opened()
	})
	<-ended
}

// wait returns early if the attack ends.
func (a *attacker) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.ctx.Done():
	}
}

// dialer connects from an address of this machine.
func dialer(address string) *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
}

var attacks = map[string]func(a *attacker, begun func()){
	"health watches": healthWatches,
	"connections":    connections,
	"unary calls":    unaryCalls,
	"traceparent":    tracedCalls,

	"min_revision waiters": func(a *attacker, begun func()) { minRevision(a, begun, 600) },
	"min_revision loop":    func(a *attacker, begun func()) { minRevision(a, begun, 4) },
	"all watches":          allWatches,
	"unknown ids":          unknownIDs,
	"unknown references":   unknownReferences,

	"verified session": func(a *attacker, begun func()) { retries(a, begun, 8, a.Verified) },
	"many sessions":    func(a *attacker, begun func()) { retries(a, begun, 40, a.Many...) },
	"unused grant":     func(a *attacker, begun func()) { retries(a, begun, 8, a.Granted) },
	"300 at once":      func(a *attacker, begun func()) { retries(a, begun, 300, a.Many...) },

	"link loop":       linkLoop,
	"made-up cookies": madeUpCookies,
	"visitors":        visitors,
	"streams":         personStreams,
	"slow bodies":     slowBodies,
	"idle tabs":       idleTabs,
	"needed links":    neededLinks,
	"sign-ups":        signUps,
}
