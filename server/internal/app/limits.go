package app

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strconv"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// adminMaxConnections is enough for a Prometheus, probes and a few people.
const adminMaxConnections = 100

// maxProfileSeconds is the longest profile.
const maxProfileSeconds = 30

// limitProfiles refuses profiles that take too long. Those that are under way at once use half of the connections, so that probes and
// metrics have the other half.
func limitProfiles(next http.Handler) http.Handler {
	slots := shares.New(adminMaxConnections/2, 0)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// pprof reads it by FormValue too. Text that is not a number is 0 here: pprof uses its default or refuses it.
		seconds, _ := strconv.ParseFloat(r.FormValue("seconds"), 64)
		if seconds > maxProfileSeconds || math.IsNaN(seconds) {
			writeLine(w, http.StatusBadRequest, fmt.Sprintf("a profile takes at most %d seconds", maxProfileSeconds))
			return
		}
		slot, err := slots.Take(shares.Holder{}, nil)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			writeLine(w, http.StatusServiceUnavailable, "too many profiles are under way; try again later")
			return
		}
		defer slot.Release()
		next.ServeHTTP(w, r)
	})
}

// streamReads is the limit of connections to Redis that open watches use at the same time: half of the driver's pool. If a change
// wakes thousands of watches, calls and webhooks still have the other half.
func streamReads() int { return 5 * runtime.GOMAXPROCS(0) }

// listReads is the limit of calls that read lists of records at the same time. Each of them uses a connection to Redis and keeps a
// processor busy. Watches and lists together leave a tenth of the driver's pool to calls and webhooks that read one record, also if
// several callers flood the server.
func listReads() int { return 4 * runtime.GOMAXPROCS(0) }

// shareOf returns one caller's share of a number of units; 0: no bound.
func shareOf(units int, c *config.Config) int { return shares.Of(units, int(c.CallerSharePercent)) }

// connHolder keeps the connection of a webhook with a valid signature from being closed for a new connection. A webhook whose
// signature is not checked yet has no such protection.
type connHolder struct{ webhook.Applier }

// Apply implements webhook.Applier.
func (h connHolder) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	defer connlimit.AcquireRequest(ctx).Release()
	return h.Applier.Apply(ctx, event)
}

// holdConn does the same for requests of operators, since a profile takes seconds.
func holdConn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer connlimit.AcquireRequest(r.Context()).Release()
		next.ServeHTTP(w, r)
	})
}
