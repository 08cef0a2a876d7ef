package clienttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// setOutcome sets outcome_revision and outcome_id of a new revision. last is the state before, or nil.
func setOutcome(v, last *verificationv1.Verification) {
	if last != nil && !brings(last, v) {
		v.OutcomeRevision, v.OutcomeId = last.GetOutcomeRevision(), last.GetOutcomeId()
		return
	}
	v.OutcomeRevision, v.OutcomeId = v.GetRevision(), outcomeID(v)
}

// brings reports whether a state shows another outcome than the state before. What a redaction erases is no difference.
func brings(before, v *verificationv1.Verification) bool {
	failure, report := before.GetLastError(), before.GetLastVerificationReport()
	if v.GetRedaction() != 0 {
		failure, report = nil, ""
	}
	return before.GetStripeStatus() != v.GetStripeStatus() || report != v.GetLastVerificationReport() || !proto.Equal(failure, v.GetLastError())
}

// outcomeID hashes what names an outcome. Each text is preceded by its length.
func outcomeID(v *verificationv1.Verification) string {
	var made []byte
	for _, text := range []string{v.GetSessionId(), v.GetStripeStatus(), v.GetLastError().GetStripeCode(), v.GetLastVerificationReport()} {
		made = append(binary.AppendUvarint(made, uint64(len(text))), text...)
	}
	sum := sha256.Sum256(binary.AppendVarint(made, v.GetUpdateTime().GetSeconds()))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// selects reports whether a filter of all sessions selects a revision of a session.
func (l *session) selects(all *verificationv1.AllSessions, v *verificationv1.Verification) bool {
	if !all.GetOutcomesOnly() && len(all.GetStatuses()) == 0 {
		return true
	}
	if v.GetRevision() == l.redacted && (v.GetOutcomeRevision() < l.redacted || l.redacted > 1 && len(all.GetStatuses()) > 0) {
		return true // the watch might never have shown an outcome of before
	}
	if all.GetOutcomesOnly() && v.GetOutcomeRevision() != v.GetRevision() {
		return false
	}
	return len(all.GetStatuses()) == 0 || slices.Contains(all.GetStatuses(), v.GetStatus())
}
