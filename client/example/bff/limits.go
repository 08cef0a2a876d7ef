package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// bound is what one bucket allows: burst presses at once, and one more each time that every has passed.
type bound struct {
	burst int
	every time.Duration
}

// The bounds of the presses of the button. Anybody can be a new person, or a thousand, without a password. Each person's first
// press creates a session at Stripe. Each later press of a person that needs a link makes verification-status read Stripe, and
// this whole site has a share of API_READS_PER_DAY: 1,250 reads with the defaults. If you raise that, raise perAddressDay too.
//
// Each process of the site counts for itself. With n of them, n times as much gets through: divide perAddressDay and allBegins by n.
var (
	// perPerson: a person that clicks ten times in a row is served ten times. After that, one more click does not help them.
	perPerson = bound{10, 30 * time.Second}
	// perAddress: 20 persons in an office begin in the same second, and ten a minute after that. 20 reads at once keep the
	// persons at other addresses waiting for 2 s, because verification-status reads Stripe ten times a second.
	perAddress = bound{20, 6 * time.Second}
	// perAddressDay bounds the presses that can cost a read. An office in which a hundred persons try again on one morning is
	// served. An address spends at most 388 reads a day: a third of the share, so that others have theirs.
	perAddressDay = bound{100, 5 * time.Minute}
	// allBegins bounds the sessions that are created for all persons together: 36,000 in an hour are more than a site of this
	// size has. It is half of the rate at which verification-status reads the events of a thin event destination, so that the
	// sessions of an attacker do not delay the events of others there. Stripe takes 100 writes a second in live mode,
	// and 25 in test mode.
	allBegins = bound{50, 100 * time.Millisecond}
)

// maxBuckets bounds the persons, and the addresses, that have a bucket: together they take less than ten megabytes. At the limit, the
// one that has not pressed for longest loses its bucket, and gets a full one with its next press.
const maxBuckets = 10_000

// busyError is the error of a press beyond a bound.
type busyError struct {
	wait time.Duration // until a press can pass
}

func (e *busyError) Error() string {
	return fmt.Sprintf("too many presses of the button: wait %v", e.wait)
}

func (b bound) limiter() *rate.Limiter { return rate.NewLimiter(rate.Every(b.every), b.burst) }

// limits count the presses of the button. They are safe for concurrent use.
type limits struct {
	mu                             sync.Mutex
	persons, addresses, addressDay buckets
	begins                         *rate.Limiter
}

func newLimits() *limits {
	return &limits{
		persons: newBuckets(perPerson), addresses: newBuckets(perAddress), addressDay: newBuckets(perAddressDay),
		begins: allBegins.limiter(),
	}
}

// isUnknown reports whether an address says nothing about the browser: there is none, or it is that of this machine, of a proxy
// here that hides the browsers or of the developer.
func isUnknown(address string) bool {
	return address == "" || address == network("127.0.0.1") || address == network("::1")
}

// press counts a press of a person. It returns a busyError if the person or their address is over its bound. If the address is
// unknown, only the bound of the person applies.
func (l *limits) press(who person, address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	counted := []*rate.Limiter{l.persons.of(who.reference())}
	if !isUnknown(address) {
		counted = append(counted, l.addresses.of(address))
		if !who.isNew() {
			counted = append(counted, l.addressDay.of(address))
		}
	}
	return take(counted...)
}

// begin counts a session that is about to be created. It returns a busyError if all persons together are over the bound.
func (l *limits) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(l.begins)
}

// take takes a token from each of these, or from none if one has none left. The caller holds limits.mu.
func take(all ...*rate.Limiter) error {
	now := time.Now()
	var wait time.Duration
	for _, each := range all {
		if missing := 1 - each.TokensAt(now); missing > 0 {
			wait = max(wait, time.Duration(missing/float64(each.Limit())*float64(time.Second)))
		}
	}
	if wait > 0 {
		return &busyError{wait}
	}
	for _, each := range all {
		each.AllowN(now, 1)
	}
	return nil
}

// buckets are the buckets of one bound, by person or by address.
type buckets struct {
	bound bound
	byKey *simplelru.LRU[string, *rate.Limiter]
}

func newBuckets(b bound) buckets {
	byKey, err := simplelru.NewLRU[string, *rate.Limiter](maxBuckets, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return buckets{b, byKey}
}

// of returns the bucket of a person or an address, a full one if there is none.
func (b buckets) of(key string) *rate.Limiter {
	bucket, found := b.byKey.Get(key)
	if !found {
		bucket = b.bound.limiter()
		b.byKey.Add(key, bucket)
	}
	return bucket
}
