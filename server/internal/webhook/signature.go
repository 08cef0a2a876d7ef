package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	stripewebhook "github.com/stripe/stripe-go/v76/webhook"

	"example.com/verification-status/server/internal/verification"
)

const (
	signatureHeader = "Stripe-Signature"
	// Bounds of the header, checked before any HMAC. Stripe sends one v1 part for each active secret.
	maxSignatureHeader = 4 << 10 // bytes
	maxSignatures      = 64
)

// checkSignature returns the position, from 1, of the first secret that the signature of the body matches, or the reason why none
// does. The time of the signature must be within tolerance of now. It skips secrets that are not usable.
//
// stripe-go checks the HMAC. It would take the time from time.Now and accept any time in the future, so the time is checked here.
// See https://docs.stripe.com/webhooks#verify-manually.
func checkSignature(header http.Header, body []byte, secrets []verification.Secret, now time.Time, tolerance time.Duration) (position int, reason Reason) {
	signature, signed, reason := parseSignature(header)
	if reason != "" {
		return 0, reason
	}
	// Compare integers: time.Unix of a huge number wraps around.
	at, within := now.Unix(), int64(tolerance/time.Second)
	if signed < at-within {
		return 0, ReasonTooOld
	}
	if signed > at+within {
		return 0, ReasonInFuture
	}
	for i, secret := range secrets {
		if usable(secret) && stripewebhook.ValidatePayloadIgnoringTolerance(body, signature, secret.Reveal()) == nil {
			return i + 1, ""
		}
	}
	return 0, ReasonWrongSignature
}

// parseSignature returns the header and its time. It accepts exactly one header with one time: of two times, stripe-go might check
// another one than this package.
func parseSignature(header http.Header) (signature string, signed int64, reason Reason) {
	values := header.Values(signatureHeader)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", 0, ReasonNotSigned
	case len(values) > 1 || len(values[0]) > maxSignatureHeader:
		return "", 0, ReasonMalformedSignature
	}
	times, signatures := 0, 0
	for part := range strings.SplitSeq(values[0], ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return "", 0, ReasonMalformedSignature
		}
		switch name {
		case "t":
			var err error
			if signed, err = strconv.ParseInt(value, 10, 64); err != nil {
				return "", 0, ReasonMalformedSignature
			}
			times++
		case "v1":
			signatures++
		}
	}
	if times != 1 || signatures > maxSignatures {
		return "", 0, ReasonMalformedSignature
	}
	return values[0], signed, ""
}
