package checker

import (
	"errors"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// A revision that others saw only while a call was under way need not be in its answer; one that they
// saw before must be.
func TestG8_WhatWasSeenDuringACallNeedNotBeInItsAnswer(t *testing.T) {
	lost := errors.New("lost")
	request := &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, MinRevision: 1,
	}
	seen := &verificationv1.GetStatusResponse{Verification: &verificationv1.Verification{
		SessionId: "vs_1", Revision: 1, StripeStatus: "processing", Status: verificationv1.Status_STATUS_PROCESSING,
	}}
	for name, before := range map[string]bool{"seen before": true, "seen meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			r := NewRecorder(time.Now, func(err error) string {
				if err != nil {
					return codeOutOfRange
				}
				return "OK"
			})
			if before {
				r.Get(request, seen, nil)
			}
			answered := r.Asks(request)
			if !before {
				r.Get(request, seen, nil)
			}
			answered(nil, lost)
			found := false
			for _, v := range r.Check(Options{MaxRetries: 2}) {
				found = found || v.Rule == NeverBackwards
			}
			if found != before {
				t.Errorf("NeverBackwards is broken: %v, want %v", found, before)
			}
		})
	}
}
