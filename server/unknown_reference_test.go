package main

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
)

// The newest session of a person is redacted; the one before bears the reference, and is found both
// where it is known and where Stripe must be asked.
func TestAReferenceLeadsPastARedactedSession(t *testing.T) {
	stripe := startStripe(t)
	known := serve(t, stripe.settings(redistest.Start(t).Addr))
	stripe.sendTo(known)
	older := stripe.newSession("person-1")
	stripe.submit(older, "verified")
	newer := stripe.newSession("person-1")
	stripe.do(stripe.Redact, newer)
	stripe.do(stripe.FinishRedaction, newer)
	stripe.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/events") { // what is older than 30 days is not in the list
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	unknown := serve(t, stripe.settings(redistest.Start(t).Addr))
	for name, server := range map[string]*process{"known": known, "unknown": unknown} {
		response, err := dialed(t, server).GetStatus(within(t, soon), ofReference("person-1"))
		if got := response.GetVerification().GetSessionId(); err != nil || got != older {
			t.Errorf("%s here: %q, %v; want %s", name, got, err, older)
		}
	}
}
