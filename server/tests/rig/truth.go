package rig

import (
	"testing"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/internal/verification"
)

// RecordTruth gives a recorder all events of the simulated Stripe, and the final state of each session. No session may change after
// that.
func RecordTruth(t testing.TB, sim *stripesim.Sim, recorder *checker.Recorder) {
	t.Helper()
	for _, e := range sim.Events() {
		event, err := stripeevent.Decode(e.Body, stripeevent.Options{})
		if err != nil {
			t.Fatal(err)
		}
		recorder.Emitted(event)
	}
	for _, session := range sim.Sessions() {
		recorder.Truth(truth(session))
	}
}

func truth(s stripesim.Session) verification.Object {
	return verification.Object{
		ID: s.ID, Type: s.Type, Status: s.Status, Report: s.LastVerificationReport, Created: s.Created,
		Error: verification.Error{Code: s.LastErrorCode, Reason: s.LastErrorReason}, Reference: s.ClientReferenceID,
		Redaction: map[string]verification.Redaction{
			"": verification.RedactionNone, "processing": verification.RedactionProcessing, "redacted": verification.RedactionRedacted,
		}[s.Redaction],
	}
}
