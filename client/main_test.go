package client_test

import (
	"testing"

	"go.uber.org/goleak"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// leavesNothing fails the test if a goroutine is left after its cleanups. Call it first.
func leavesNothing(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
}

func newServer(t *testing.T) *clienttest.Server {
	t.Helper()
	leavesNothing(t)
	return clienttest.New(t)
}

const (
	requiresInput = verificationv1.Status_STATUS_REQUIRES_INPUT
	processing    = verificationv1.Status_STATUS_PROCESSING
	verified      = verificationv1.Status_STATUS_VERIFIED
	canceled      = verificationv1.Status_STATUS_CANCELED
)

func session(id string, status verificationv1.Status) *verificationv1.Verification {
	return &verificationv1.Verification{SessionId: id, Status: status}
}

// person returns a session with a reference.
func person(id, reference string, status verificationv1.Status) *verificationv1.Verification {
	return &verificationv1.Verification{SessionId: id, Status: status, ClientReferenceId: reference}
}

// flip makes the n-th change of a session. Two in a row always differ.
func flip(s *clienttest.Server, id string, n int) {
	v := session(id, processing)
	if n%2 == 0 {
		v.Status = requiresInput
	}
	s.Set(v)
}
