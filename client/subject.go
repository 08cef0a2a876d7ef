package client

import (
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Subject is whose status is meant. Make one with [Session] or [Reference]; the zero Subject is
// nobody, and refused by the server.
type Subject struct {
	session, reference string
}

// Session is one session, by Stripe's id ("vs_...").
func Session(id string) Subject { return Subject{session: id} }

// Reference is whichever session is the newest with the caller's own id for the person or case, 255
// bytes at the most. When a newer session appears, a watch goes on with that one; revisions start
// over there.
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

// check refuses what cannot be sent at all. grpc would call it an INTERNAL error, and a watch would
// try for ever.
func (s Subject) check() error { return checkText("the subject", s.session+s.reference) }

func checkText(what, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return newError(status.Error(codes.InvalidArgument, what+" is not UTF-8"))
}
