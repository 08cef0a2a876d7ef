package main

import (
	"fmt"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// failure is why a submission failed, and what helps, in words for the person at the desk.
type failure struct{ What, Helps string }

// failures has the words for each error code. The advice is that of server/docs/retries.md.
var failures = map[verificationv1.ErrorCode]failure{
	verificationv1.ErrorCode_ERROR_CODE_ABANDONED:                            {"They began and did not submit", "A link to continue. It costs no try."},
	verificationv1.ErrorCode_ERROR_CODE_CONSENT_DECLINED:                     {"They did not agree to the check", "Ask whether they have changed their mind. If so, allow one more try; if not, deal with them in another way."},
	verificationv1.ErrorCode_ERROR_CODE_COUNTRY_NOT_SUPPORTED:                {"Stripe checks no documents of that country", "A document of another country, or another way."},
	verificationv1.ErrorCode_ERROR_CODE_DEVICE_NOT_SUPPORTED:                 {"Their device has no usable camera", "A phone, or the permission to use the camera."},
	verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE:                  {"Younger than the people Stripe verifies", "Another way. If the date of birth was misread, allow one more try."},
	verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED:                     {"The document has expired", "A document that is valid."},
	verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_TYPE_NOT_SUPPORTED:          {"Not a type of document that we take", "A passport, driving licence or identity card."},
	verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_UNVERIFIED_OTHER:            {"The document could not be verified", "A better picture: good light, all four corners. Or another document."},
	verificationv1.ErrorCode_ERROR_CODE_SELFIE_DOCUMENT_MISSING_PHOTO:        {"The document has no photo to compare with", "A document with a photo."},
	verificationv1.ErrorCode_ERROR_CODE_SELFIE_FACE_MISMATCH:                 {"The selfie does not match the photo", "A better picture. If it comes again, look at it in Stripe’s Dashboard."},
	verificationv1.ErrorCode_ERROR_CODE_SELFIE_MANIPULATED:                   {"The selfie looks manipulated", "Look at it in Stripe’s Dashboard first: it is a sign of fraud."},
	verificationv1.ErrorCode_ERROR_CODE_SELFIE_UNVERIFIED_OTHER:              {"The selfie could not be verified", "A better picture: good light, no hat, no sunglasses."},
	verificationv1.ErrorCode_ERROR_CODE_ID_NUMBER_INSUFFICIENT_DOCUMENT_DATA: {"The document shows too little to check the ID number", "A document that shows more."},
	verificationv1.ErrorCode_ERROR_CODE_ID_NUMBER_MISMATCH:                   {"ID number, name and date of birth do not match", "All three once more: typing errors are common."},
	verificationv1.ErrorCode_ERROR_CODE_ID_NUMBER_UNVERIFIED_OTHER:           {"The ID number could not be verified", "The number once more."},
	verificationv1.ErrorCode_ERROR_CODE_ADDRESS_MISMATCH:                     {"Not found at that address", "The address once more, as it is registered."},
	verificationv1.ErrorCode_ERROR_CODE_EMAIL_UNVERIFIED_OTHER:               {"The e-mail address could not be verified", "The code that was sent, once more."},
	verificationv1.ErrorCode_ERROR_CODE_EMAIL_VERIFICATION_DECLINED:          {"They did not want their e-mail address verified", "Another way, if they decline again."},
	verificationv1.ErrorCode_ERROR_CODE_PHONE_UNVERIFIED_OTHER:               {"The phone number could not be verified", "The code that was sent, once more."},
	verificationv1.ErrorCode_ERROR_CODE_PHONE_VERIFICATION_DECLINED:          {"They did not want their phone number verified", "Another way, if they decline again."},
}

// wordsOf returns the words for a failure. For a code that this page does not know they are Stripe's own.
func wordsOf(e *verificationv1.VerificationError) failure {
	if known, ok := failures[e.GetCode()]; ok {
		return known
	}
	if e.GetStripeCode() != "" {
		return failure{"Refused: " + strings.ReplaceAll(e.GetStripeCode(), "_", " "), "Read Stripe’s own words below, or look at it in Stripe’s Dashboard."}
	}
	return failure{"Refused", "Look at it in Stripe’s Dashboard."}
}

// fails reports whether a session shows a failed submission. An abandoned attempt is none.
func fails(v *verificationv1.Verification) bool {
	return v.GetStatus() == verificationv1.Status_STATUS_REQUIRES_INPUT && v.GetLastError() != nil &&
		v.GetLastError().GetCode() != verificationv1.ErrorCode_ERROR_CODE_ABANDONED
}

// kind is how a person can be dealt with elsewhere.
type kind struct {
	Value       string // in forms
	Name, About string
	kind        verificationv1.ResolutionKind
}

var kinds = []kind{
	{"verified-elsewhere", "Verified in another way", "You have seen the documents, or another method has verified them. Stripe’s status stays as it is.", verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE},
	{"declined", "Declined", "Somebody has looked at it and decided against this person.", verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED},
	{"closed", "Closed", "Nobody needs it any more: a duplicate, a withdrawal, or a test.", verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED},
}

func kindName(k verificationv1.ResolutionKind) string {
	for _, one := range kinds {
		if one.kind == k {
			return one.Name
		}
	}
	return "Dealt with in another way"
}

// state is what a session amounts to for the person at the desk. Tone selects color and picture: good, bad, wait, calm or open.
type state struct{ Tone, Title, Text string }

// stateOf returns the state in words. times formats times.
func stateOf(v *verificationv1.Verification, times clock) state {
	retry := v.GetRetry()
	verified := v.GetStatus() == verificationv1.Status_STATUS_VERIFIED
	switch {
	case v.GetSupersededBy() != "":
		return state{"calm", "Replaced by a newer check", "This check was closed, and the person continues with the newer one. Look at that one."}
	case v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED && verified:
		return state{"calm", "Verified, and erased", "The person’s data was erased, or is being erased. Only the status is kept."}
	case v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED:
		return state{"calm", "Erased", "The person’s data was erased, or is being erased. A person who comes back needs a new check."}
	case verified:
		return state{"good", "Verified", "Stripe has verified this person. There is nothing left to do."}
	case v.GetResolution() != nil:
		return state{"calm", "Dealt with: " + lowerFirst(kindName(v.GetResolution().GetKind())), "It is no longer on the lists, and retries are refused until somebody takes the mark back."}
	case v.GetStatus() == verificationv1.Status_STATUS_CANCELED && retry.GetOverrideOpen():
		return state{"open", "Closed, and one more try is open", "Make a new link: it begins a new check in place of this one."}
	case v.GetStatus() == verificationv1.Status_STATUS_CANCELED:
		return state{"calm", "Closed before it was complete", "A new link begins a new check in place of this one, as long as the person has tries left."}
	case v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT:
		return state{"wait", "Being checked by Stripe", "This seldom takes more than a few minutes. If it takes hours, look at it in Stripe’s Dashboard."}
	case retry.GetOverrideOpen():
		return state{"open", "One more try is open", "Somebody has allowed it. The person can use it now: on your page, or with a link from here."}
	case retry.GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED:
		return state{"bad", "Stuck: no tries left", "The person has used all tries. Only somebody at this desk can help."}
	case retry.GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE:
		return state{"bad", "Stuck: refused for good", "After this reason no further try is allowed. Only somebody at this desk can help."}
	case retry.GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:
		return state{"wait", "Has to wait before the next try", "The next try is allowed from " + times.at(retry.GetNextRetryTime()) + " on."}
	case fails(v):
		return state{"wait", "Refused, and can try again", triesLeft(retry.GetRetriesRemaining())}
	case v.GetLastError() != nil:
		return state{"wait", "Began, and did not submit", "The person can continue at any time. It costs no try."}
	}
	return state{"wait", "Not submitted yet", "The person has a link and has not submitted anything with it."}
}

func triesLeft(n int32) string {
	switch n {
	case 0: // the retry that is under way is counted already
		return "The last try is open."
	case 1:
		return "The person has one try left."
	}
	return fmt.Sprintf("The person has %d tries left.", n)
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// denials are the reasons for which the service denies a retry, as the end of "No link was made: ".
var denials = map[verificationv1.RetryDenial]string{
	verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING:       "Stripe is checking the last submission. Wait for its result.",
	verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED: "the person is verified already.",
	verificationv1.RetryDenial_RETRY_DENIAL_CANCELED:         "the check is closed.",
	verificationv1.RetryDenial_RETRY_DENIAL_REDACTED:         "the person’s data was erased. They need a new check.",
	verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED:    "the person has no tries left. Allow one more try first.",
	verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE:    "after this reason no further try is allowed. Allow one more try first.",
	verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED:       "a newer check has taken the place of this one. Look at that one.",
	verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:         "it is too early. Wait, or allow one more try first.",
	verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED:         "somebody has noted that this person was dealt with. Take that back first.",
}
