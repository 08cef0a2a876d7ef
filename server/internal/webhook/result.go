package webhook

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Reason says why a delivery got its answer. The set is small and fixed, since it is the label of a metric.
type Reason string

// The reasons, with the status of the answer.
const (
	ReasonApplied            Reason = "applied"             // 200
	ReasonDuplicate          Reason = "duplicate"           // 200: known already
	ReasonNotIdentity        Reason = "not_identity"        // 200: not an event about an Identity session
	ReasonOtherLivemode      Reason = "other_livemode"      // 200: of the other mode
	ReasonOtherAccount       Reason = "other_account"       // 200: of a connected account that is not accepted
	ReasonPing               Reason = "ping"                // 200: a ping of the event destination
	ReasonDeauthorized       Reason = "deauthorized"        // 200: a connected account has revoked its permission
	ReasonUnknownSession     Reason = "unknown_session"     // 200: a thin event of a session that Stripe does not know
	ReasonAccountRefused     Reason = "account_refused"     // 200: a thin event of an account that Stripe refuses
	ReasonWrongPath          Reason = "wrong_path"          // 404
	ReasonWrongMethod        Reason = "wrong_method"        // 405
	ReasonTooLarge           Reason = "too_large"           // 413
	ReasonLargeBodies        Reason = "large_bodies"        // 429: too many bodies that are not small arrive at once
	ReasonUnreadable         Reason = "unreadable"          // 400: the body broke off
	ReasonNotSigned          Reason = "not_signed"          // 400
	ReasonMalformedSignature Reason = "malformed_signature" // 400
	ReasonTooOld             Reason = "too_old"             // 400
	ReasonInFuture           Reason = "in_future"           // 400
	ReasonWrongSignature     Reason = "wrong_signature"     // 400
	ReasonMalformed          Reason = "malformed_event"     // 400: signed, but not usable
	ReasonNoSecret           Reason = "no_secret"           // 503: a reload has left no secret
	ReasonApplyFailed        Reason = "apply_failed"        // 503
	ReasonOverloaded         Reason = "overloaded"          // 503: Config.MaxInFlight is reached
	ReasonPanic              Reason = "panic"               // 503
	ReasonStripeAway         Reason = "stripe_unavailable"  // 503: a thin event, and no answer of Stripe
	ReasonKeyRefused         Reason = "key_refused"         // 503: a thin event, and Stripe refuses the API key
	ReasonNoKey              Reason = "no_key"              // 503: a thin event, and there is no API key
)

// unread returns the answer for an error of readBody.
func unread(err error) Result {
	tooLarge := (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &tooLarge):
		return Result{Status: http.StatusRequestEntityTooLarge, Reason: ReasonTooLarge}
	case errors.Is(err, errLargeBodies):
		return Result{Status: http.StatusTooManyRequests, Reason: ReasonLargeBodies}
	default:
		return Result{Status: http.StatusBadRequest, Reason: ReasonUnreadable}
	}
}

// resultOf returns the answer for an error of Applier. Only for a thin event it can be an error of Stripe's API.
func resultOf(err error) (status int, reason Reason) {
	switch {
	case errors.Is(err, verification.ErrStripeUnknown):
		return http.StatusOK, ReasonUnknownSession
	case errors.Is(err, verification.ErrStripeAccountRefused), errors.Is(err, verification.ErrStripeExcluded):
		return http.StatusOK, ReasonAccountRefused
	case errors.Is(err, verification.ErrStripeOtherMode):
		return http.StatusOK, ReasonOtherLivemode
	case errors.Is(err, verification.ErrStripeNotConfigured):
		return http.StatusServiceUnavailable, ReasonNoKey
	case errors.Is(err, verification.ErrStripeUnauthorized):
		return http.StatusServiceUnavailable, ReasonKeyRefused
	case errors.Is(err, verification.ErrStripeUnavailable):
		return http.StatusServiceUnavailable, ReasonStripeAway
	default:
		return http.StatusServiceUnavailable, ReasonApplyFailed
	}
}

// Result is the result of one delivery.
type Result struct {
	// Status is the HTTP status of the answer.
	Status int
	Reason Reason
	// EventType is Stripe's event type if it is one of verification.EventTypes, with verification.ThinPrefix for a thin event. It is
	// "other" or "v1.other" for another type of Identity sessions, and empty for a delivery without an event about a session.
	EventType string
	// Secret is the position, from 1, of the first secret that the signature matches, or 0 if it matches none.
	Secret int
	// Effect is the effect of an event that was kept. 0: it left no history entry.
	Effect verification.Effect
	// Age is the time from the event at Stripe to its arrival, or 0 if the event was not kept.
	Age time.Duration
	// Took is the duration of the request.
	Took time.Duration
}

// sentences are the bodies of the answers other than 200, one plain line each. The line is the same for every fault of a signature,
// so that it says nothing about the secret.
var sentences = map[int]string{
	http.StatusBadRequest:            "the request is not a usable Stripe event",
	http.StatusNotFound:              "nothing here",
	http.StatusMethodNotAllowed:      "only POST is allowed",
	http.StatusRequestEntityTooLarge: "the body is too large",
	http.StatusTooManyRequests:       "too many large bodies arrive at once; send it again later",
	http.StatusServiceUnavailable:    "the event could not be kept; send it again later",
}

// refused reports whether the request was refused before its signature was checked, or because of it.
func (r Result) refused() bool { return r.Secret == 0 && r.Status >= 400 && r.Status < 500 }

// write writes the answer. It ignores errors: if Stripe does not get the answer, it sends the event again.
//
// The answer to a refused request ends the connection, so that each further one costs its client a connection, and connections are limited.
// It also costs a proxy in front a connection if the proxy shares one between Stripe and other clients, but no request of Stripe: HTTP/1.1 has
// one request on a connection at a time, and the header tells the proxy to send no other.
func (r Result) write(w http.ResponseWriter) {
	if r.refused() {
		w.Header().Set("Connection", "close")
	}
	switch r.Status {
	case http.StatusOK:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"received":true}`)
		return
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, sentences[r.Status], r.Status)
}

// knownType returns the event type, or "other", so that the label of a metric has few values. The type of a thin event keeps its prefix.
func knownType(eventType string) string {
	plain, thin := strings.CutPrefix(eventType, verification.ThinPrefix)
	switch {
	case slices.Contains(verification.EventTypes, plain):
		return eventType
	case thin:
		return verification.ThinPrefix + "other"
	default:
		return "other"
	}
}
