package remote

import (
	"fmt"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// denialWords says why a retry is denied.
var denialWords = map[verificationv1.RetryDenial]string{
	verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING:       "Stripe still checks the last submission",
	verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED: "the person is verified",
	verificationv1.RetryDenial_RETRY_DENIAL_CANCELED:         "the session is closed; RetryVerification with replace_closed creates a new one",
	verificationv1.RetryDenial_RETRY_DENIAL_REDACTED:         "the personal data is erased",
	verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED:    "the person has used all retries",
	verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE:    "another try cannot fix this failure",
	verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED:       "another session replaced this one",
	verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:         "it is too soon after the last failure",
	verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED:         "an operator has resolved the session",
}

// resolutionWords says how a person was dealt with.
func resolutionWords(kind verificationv1.ResolutionKind) string {
	return lower(kind.String(), "RESOLUTION_KIND_")
}

// lower returns the name of a value of an enum in small letters: VERIFIED_ELSEWHERE as "verified elsewhere". A number that this
// version does not know stays a number.
func lower(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", " ")
}

// sourceWords says where an input came from.
var sourceWords = map[verificationv1.Source]string{
	verificationv1.Source_SOURCE_WEBHOOK:     "webhook",
	verificationv1.Source_SOURCE_STRIPE_API:  "read at Stripe",
	verificationv1.Source_SOURCE_RETRY:       "retry",
	verificationv1.Source_SOURCE_REPLACEMENT: "replacement",
	verificationv1.Source_SOURCE_OPERATOR:    "operator",
	verificationv1.Source_SOURCE_IMPORT:      "import",
	verificationv1.Source_SOURCE_COMPARISON:  "comparison",
}

// operationWords says what an operator did.
var operationWords = map[verificationv1.Operation]string{
	verificationv1.Operation_OPERATION_UNSPECIFIED: "changed the session",
	verificationv1.Operation_OPERATION_ALLOW_RETRY: "allowed one more try",
	verificationv1.Operation_OPERATION_RESOLVE:     "resolved the session",
	verificationv1.Operation_OPERATION_TAKE_BACK:   "took the resolution back",
}

// effectWords says what an input did, unless it became the state.
var effectWords = map[verificationv1.Effect]string{
	verificationv1.Effect_EFFECT_STALE:   "; it came late and changed nothing",
	verificationv1.Effect_EFFECT_COUNTED: "; it came late and was only counted",
	verificationv1.Effect_EFFECT_PENDING: "; its order is not certain",
}

// entryWords says what an input was, and what it did.
func entryWords(entry *verificationv1.HistoryEntry) string {
	switch entry.GetSource() {
	case verificationv1.Source_SOURCE_OPERATOR:
		return operationWords[entry.GetOperation()]
	case verificationv1.Source_SOURCE_RETRY:
		return "got a link for one more try"
	case verificationv1.Source_SOURCE_REPLACEMENT:
		return "was linked with the session that replaces it, or that it replaces"
	case verificationv1.Source_SOURCE_COMPARISON:
		return "compared " + printable(strings.Join(entry.GetComparedFields(), ", "))
	}
	text := stateWords(entry.GetStatus(), entry.GetError())
	if _, kind, found := strings.Cut(entry.GetEventType(), "verification_session."); found && kind == "redacted" {
		text = "the personal data is erased, or being erased"
	}
	return text + effectWords[entry.GetEffect()]
}

// stateWords says how a session stands at Stripe.
func stateWords(state verificationv1.Status, failure *verificationv1.VerificationError) string {
	switch state {
	case verificationv1.Status_STATUS_REQUIRES_INPUT:
		if failure == nil {
			return "waits for the person"
		}
		return "failed: " + failureWords(failure)
	case verificationv1.Status_STATUS_PROCESSING:
		return "Stripe checks the submission"
	case verificationv1.Status_STATUS_VERIFIED:
		return "verified"
	case verificationv1.Status_STATUS_CANCELED:
		return "closed"
	default:
		return "a status that this version does not know"
	}
}

// failureWords returns the code of a failure, and Stripe's explanation if it is known.
func failureWords(failure *verificationv1.VerificationError) string {
	if failure.GetReason() == "" {
		return printable(failure.GetStripeCode())
	}
	return fmt.Sprintf("%s: %s", printable(failure.GetStripeCode()), printable(failure.GetReason()))
}
