package client

import (
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Subject selects the session of a call: one session, or the newest session with a reference. Make one with [Session] or
// [Reference]. Calls with the zero Subject fail with [ErrInvalidRequest].
type Subject struct {
	session, reference string
}

// Session selects one session, by Stripe's id ("vs_...").
func Session(id string) Subject { return Subject{session: id} }

// Reference selects the newest session with the caller's own id for a person or case (Stripe's client_reference_id), at most
// 255 bytes. When a newer session appears, a watch continues with that session, whose revisions start at 1 again.
func Reference(clientReferenceID string) Subject { return Subject{reference: clientReferenceID} }

func (s Subject) statusRequest() *verificationv1.GetStatusRequest {
	switch {
	case s.session != "":
		return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: s.session}}
	case s.reference != "":
		return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: s.reference}}
	default:
		return &verificationv1.GetStatusRequest{}
	}
}

func (s Subject) watchRequest() *verificationv1.WatchStatusRequest {
	switch {
	case s.session != "":
		return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: s.session}}
	case s.reference != "":
		return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: s.reference}}
	default:
		return &verificationv1.WatchStatusRequest{}
	}
}

// check returns an error for a text that cannot be sent. grpc would return INTERNAL for it, and a watch would try for ever.
func (s Subject) check() error { return checkText("the subject", s.session+s.reference) }

func checkText(what, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return newError(status.Error(codes.InvalidArgument, what+" is not UTF-8"))
}
