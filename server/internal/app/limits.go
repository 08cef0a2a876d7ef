package app

import (
	"context"
	"net/http"
	"runtime"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// adminMaxConnections is enough for a scraper, probes and a few people.
const adminMaxConnections = 100

// streamReads is how many connections to Redis the open watches may use at once: half of those that
// the driver holds, so that a change that wakes thousands of them leaves calls and webhooks the rest.
func streamReads() int { return 5 * runtime.GOMAXPROCS(0) }

// holding keeps the connection of a webhook whose signature is right from being closed to make room
// for another. Whoever has not signed yet has no such right.
type holding struct{ webhook.Applier }

// Apply implements webhook.Applier.
func (h holding) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	defer connlimit.AcquireRequest(ctx).Release()
	return h.Applier.Apply(ctx, event)
}

// held does the same for whatever an operator asks: a profile takes its time.
func held(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer connlimit.AcquireRequest(r.Context()).Release()
		next.ServeHTTP(w, r)
	})
}
