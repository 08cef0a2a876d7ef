package webhook

import (
	"io"
	"net/http"
	"slices"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Reason says why a delivery was answered as it was. The set is small and fixed: a metric's label.
type Reason string

// The reasons, with the status of the answer.
const (
	ReasonApplied            Reason = "applied"             // 200
	ReasonDuplicate          Reason = "duplicate"           // 200: known before
	ReasonNotIdentity        Reason = "not_identity"        // 200: no event about an Identity session
	ReasonOtherLivemode      Reason = "other_livemode"      // 200: of the other mode
	ReasonOtherAccount       Reason = "other_account"       // 200: of a connected account that is not accepted
	ReasonWrongPath          Reason = "wrong_path"          // 404
	ReasonWrongMethod        Reason = "wrong_method"        // 405
	ReasonTooLarge           Reason = "too_large"           // 413
	ReasonUnreadable         Reason = "unreadable"          // 400: the body broke off
	ReasonNotSigned          Reason = "not_signed"          // 400
	ReasonMalformedSignature Reason = "malformed_signature" // 400
	ReasonTooOld             Reason = "too_old"             // 400
	ReasonInFuture           Reason = "in_future"           // 400
	ReasonWrongSignature     Reason = "wrong_signature"     // 400
	ReasonMalformed          Reason = "malformed_event"     // 400: signed, but not usable
	ReasonNoSecret           Reason = "no_secret"           // 503: a reload left none
	ReasonApplyFailed        Reason = "apply_failed"        // 503
	ReasonOverloaded         Reason = "overloaded"          // 503: too many are being kept
	ReasonPanic              Reason = "panic"               // 503
)

// Result is what became of one delivery.
type Result struct {
	// Status is the HTTP status of the answer.
	Status int
	Reason Reason
	// EventType is Stripe's event type where it is one of the six known, "other" for another type of
	// Identity sessions, and empty where it does not matter.
	EventType string
	// Secret is the place among the secrets, from 1, of the first one that signed; 0: none did.
	Secret int
	// Effect is what a kept event did; 0: it left no entry.
	Effect verification.Effect
	// Age is the time from the event at Stripe to its arrival; 0 unless it was kept.
	Age time.Duration
	// Took is the time that the answer took.
	Took time.Duration
}

// sentences are the bodies of the answers that are not 200: one plain line each, the same for every
// fault of a signature, so that they teach nothing about the secret.
var sentences = map[int]string{
	http.StatusBadRequest:            "the request is not a usable Stripe event",
	http.StatusNotFound:              "nothing here",
	http.StatusMethodNotAllowed:      "only POST is allowed",
	http.StatusRequestEntityTooLarge: "the body is too large",
	http.StatusServiceUnavailable:    "the event could not be kept; send it again later",
}

// write answers. Whether the client still listens is of no interest: if not, Stripe sends again.
func (r Result) write(w http.ResponseWriter) {
	switch r.Status {
	case http.StatusOK:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"received":true}`)
		return
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, sentences[r.Status], r.Status)
}

// knownType bounds the values that a metric's label can take.
func knownType(eventType string) string {
	if slices.Contains(verification.EventTypes, eventType) {
		return eventType
	}
	return "other"
}
