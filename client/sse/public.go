package sse

import (
	"google.golang.org/protobuf/encoding/protojson"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// public is what of a verification a browser is shown, as JSON on one line. It lists the fields: what
// the contract gains later stays inside until somebody adds it here.
//
// Left out are the company's own (client_reference_id, account, livemode, superseded_by), what leads to
// more at Stripe (last_verification_report), and Stripe's raw words. The reason of a failure is written
// by Stripe for the person, so the person sees it.
func public(v *verificationv1.Verification) (string, error) {
	shown := &verificationv1.Verification{
		SessionId:  v.GetSessionId(),
		Status:     v.GetStatus(),
		Type:       v.GetType(),
		UpdateTime: v.GetUpdateTime(),
		Revision:   v.GetRevision(),
		Settled:    v.GetSettled(),
	}
	if failure := v.GetLastError(); failure != nil {
		shown.LastError = &verificationv1.VerificationError{
			Code: failure.GetCode(), Reason: failure.GetReason(), Category: failure.GetCategory(),
		}
	}
	if retry := v.GetRetry(); retry != nil {
		shown.Retry = &verificationv1.RetryState{
			Allowed: retry.GetAllowed(), Denial: retry.GetDenial(), NextRetryTime: retry.GetNextRetryTime(),
			RetriesRemaining: retry.GetRetriesRemaining(),
		}
	}
	text, err := protojson.Marshal(shown)
	return string(text), err
}
