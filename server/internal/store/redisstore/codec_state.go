package redisstore

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/verification"
)

// Fields of a state, within a session or an entry. Each is there only if it differs from the state
// before; then it holds the new value, which may be zero.
const (
	stateStatus         protowire.Number = 1 // code, see statusCodes
	stateErrorCode      protowire.Number = 2 // code, see errorCodes
	stateErrorReason    protowire.Number = 3
	stateReport         protowire.Number = 4 // without its "vr_"
	stateUpdateTime     protowire.Number = 5 // less the entry's event time
	stateFailedAttempts protowire.Number = 6
	stateShownFailure   protowire.Number = 7 // place among the failures, from 1; 0: none
	stateStatusText     protowire.Number = 16
	stateType           protowire.Number = 17
	stateCreated        protowire.Number = 18 // less the entry's event time
	stateReference      protowire.Number = 19
	stateRedaction      protowire.Number = 20
	stateRetriesGranted protowire.Number = 21
	stateSupersededBy   protowire.Number = 22
	stateShownGranted   protowire.Number = 23
	stateShownHash      protowire.Number = 24 // the shown failure where it is not among the failures
	stateReportText     protowire.Number = 25 // where it does not begin with "vr_"
	stateErrorText      protowire.Number = 26
)

// The tables statusCodes, errorCodes and eventTypes never change: a record holds a place in a table, and a
// replica of an older version refuses a record with a place that its table does not have. A text that is in
// no table is stored as it is, which every version reads, at the price of a few bytes. So a new status, error
// code or event type needs no entry. The tables' lengths are part of their types, and a test pins the rest.

// statusCodes are the statuses with a number.
var statusCodes = [5]string{
	"", verification.StatusRequiresInput, verification.StatusProcessing,
	verification.StatusVerified, verification.StatusCanceled,
}

// errorCodes are the codes of a last_error with a number. Others, such as the contract's address_mismatch,
// are text.
var errorCodes = [20]string{
	"", "abandoned", "consent_declined", "country_not_supported", "device_not_supported", "document_expired",
	"document_type_not_supported", "document_unverified_other", "email_unverified_other",
	"email_verification_declined", "id_number_insufficient_document_data", "id_number_mismatch",
	"id_number_unverified_other", "phone_unverified_other", "phone_verification_declined",
	"selfie_document_missing_photo", "selfie_face_mismatch", "selfie_manipulated", "selfie_unverified_other",
	"under_supported_age",
}

const (
	reportPrefix = "vr_"
	eventPrefix  = "evt_"
)

// encodeID writes a Stripe id without its prefix or, without that prefix, verbatim.
func encodeID(w *writer, prefix string, short, verbatim protowire.Number, id string) {
	if rest, ok := strings.CutPrefix(id, prefix); ok {
		w.text(short, rest)
	} else {
		w.text(verbatim, id)
	}
}

// encodeCode writes a text as its place in a table, or verbatim.
func encodeCode(w *writer, table []string, code, verbatim protowire.Number, text string) {
	if i := slices.Index(table, text); i >= 0 {
		w.uint(code, uint64(i))
	} else {
		w.text(verbatim, text)
	}
}

func (r *reader) code(f field, table []string) string {
	return table[r.uint(f, uint64(len(table)-1))]
}

// encodeState writes how a state differs from the one before.
func encodeState(w *writer, before, s verification.State, second int64, failures []verification.Failure) {
	if s.Status != before.Status {
		encodeCode(w, statusCodes[:], stateStatus, stateStatusText, s.Status)
	}
	textDiff(w, stateType, before.Type, s.Type)
	if s.Error.Code != before.Error.Code {
		encodeCode(w, errorCodes[:], stateErrorCode, stateErrorText, s.Error.Code)
	}
	textDiff(w, stateErrorReason, before.Error.Reason, s.Error.Reason)
	if s.Report != before.Report {
		encodeID(w, reportPrefix, stateReport, stateReportText, s.Report)
	}
	textDiff(w, stateReference, before.Reference, s.Reference)
	textDiff(w, stateSupersededBy, before.SupersededBy, s.SupersededBy)
	if s.Created != before.Created {
		w.int(stateCreated, s.Created-second)
	}
	if s.UpdateTime != before.UpdateTime {
		w.int(stateUpdateTime, s.UpdateTime-second)
	}
	if s.Redaction != before.Redaction {
		w.uint(stateRedaction, uint64(s.Redaction))
	}
	if s.FailedAttempts != before.FailedAttempts {
		w.int(stateFailedAttempts, int64(s.FailedAttempts))
	}
	if s.RetriesGranted != before.RetriesGranted {
		w.int(stateRetriesGranted, int64(s.RetriesGranted))
	}
	if s.ShownFailure != before.ShownFailure {
		encodeShown(w, s.ShownFailure, failures)
	}
	if s.ShownGranted != before.ShownGranted {
		w.bool(stateShownGranted, s.ShownGranted)
	}
}

func textDiff(w *writer, num protowire.Number, before, now string) {
	if now != before {
		w.text(num, now)
	}
}

func encodeShown(w *writer, id uint64, failures []verification.Failure) {
	at := slices.IndexFunc(failures, func(f verification.Failure) bool { return f.ID == id })
	switch {
	case id == 0:
		w.uint(stateShownFailure, 0)
	case at >= 0:
		w.uint(stateShownFailure, uint64(at+1))
	default:
		w.fixed(stateShownHash, id)
	}
}

// decodeStateField takes one field into a state that holds the one before; false if it is not known.
func decodeStateField(r *reader, f field, s *verification.State, second int64, failures []verification.Failure) bool {
	switch f.num {
	case stateStatus:
		s.Status = r.code(f, statusCodes[:])
	case stateStatusText:
		s.Status = r.text(f)
	case stateType:
		s.Type = r.text(f)
	case stateErrorCode:
		s.Error.Code = r.code(f, errorCodes[:])
	case stateErrorText:
		s.Error.Code = r.text(f)
	case stateErrorReason:
		s.Error.Reason = r.text(f)
	case stateReport:
		s.Report = reportPrefix + r.text(f)
	case stateReportText:
		s.Report = r.text(f)
	case stateReference:
		s.Reference = r.text(f)
	case stateSupersededBy:
		s.SupersededBy = r.text(f)
	case stateCreated:
		s.Created = second + r.int64(f)
	case stateUpdateTime:
		s.UpdateTime = second + r.int64(f)
	case stateRedaction: // a number to come is kept, and is a redaction
		s.Redaction = verification.Redaction(r.uint(f, 255))
	case stateFailedAttempts:
		s.FailedAttempts = r.int32(f)
	case stateRetriesGranted:
		s.RetriesGranted = r.int32(f)
	case stateShownFailure:
		s.ShownFailure = 0
		if at := r.uint(f, uint64(len(failures))); at > 0 {
			s.ShownFailure = failures[at-1].ID
		}
	case stateShownHash:
		s.ShownFailure = r.fixed(f)
	case stateShownGranted:
		s.ShownGranted = r.bool(f)
	default:
		return false
	}
	return true
}
