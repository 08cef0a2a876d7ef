package e2e

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// The newest session of a person is redacted. The session before has the reference, and is found both if its record exists
// and if Stripe must be asked.
func TestAReferenceLeadsPastARedactedSession(t *testing.T) {
	stripe := rig.StartFakeStripe(t)
	known := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr))
	stripe.SendTo(known)
	older := stripe.NewSession("person-1")
	stripe.SubmitAndFinish(older, "verified")
	newer := stripe.NewSession("person-1")
	stripe.Do(stripe.Redact, newer)
	stripe.Do(stripe.FinishRedaction, newer)
	stripe.AnswerWith(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/events") { // what is older than 30 days is not in the list
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	unknown := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr))
	for name, server := range map[string]*rig.Process{"known": known, "unknown": unknown} {
		response, err := rig.ClientOf(t, server).GetStatus(rig.Within(t, rig.Soon), ofReference("person-1"))
		if got := response.GetVerification().GetSessionId(); err != nil || got != older {
			t.Errorf("%s here: %q, %v; want %s", name, got, err, older)
		}
	}
}
