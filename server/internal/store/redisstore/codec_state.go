package redisstore

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/verification"
)

// Fields of a state, within a session or an entry. A field is present only if it differs from the state before. It holds the
// new value, which can be zero.
const (
	stateStatus         protowire.Number = 1 // code; see statusCodes
	stateErrorCode      protowire.Number = 2 // code; see errorCodes
	stateErrorReason    protowire.Number = 3
	stateReport         protowire.Number = 4 // without "vr_"
	stateUpdateTime     protowire.Number = 5 // less the event time of the entry
	stateFailedAttempts protowire.Number = 6
	stateShownFailure   protowire.Number = 7 // index in the failures, from 1; 0 for none
	stateStatusText     protowire.Number = 16
	stateType           protowire.Number = 17
	stateCreated        protowire.Number = 18 // less the event time of the entry
	stateReference      protowire.Number = 19
	stateRedaction      protowire.Number = 20
	stateRetriesGranted protowire.Number = 21
	stateSupersededBy   protowire.Number = 22
	stateShownGranted   protowire.Number = 23
	stateShownHash      protowire.Number = 24 // the shown failure if it is not in the failures
	stateReportText     protowire.Number = 25 // a report that does not begin with "vr_"
	stateErrorText      protowire.Number = 26

	// Since format 3. An older version keeps them as unknown fields. An entry that it writes holds none of them, which means that
	// they are as in the entry before. The session has them even if its newest entry has the same, because an older version can trim
	// the entry that has them. If an erasure removed the entry before, the revision of the older version is read without them once
	// another revision is the newest.
	stateResolution protowire.Number = 27 // 1 byte kind, varint second, principal; empty for none
	stateAllowance  protowire.Number = 28 // 1 byte: 1 given, 2 for the replacement; 8 bytes failure; empty for none
	stateOverrides  protowire.Number = 29
)

// Never change or extend the tables statusCodes, errorCodes and eventTypes. A record contains an index into a table, and a
// replica of an older version refuses a record with an index that its table does not have. A text that is not in its table
// is stored as text. That costs a few bytes, and every version can read it. So a new status, error code or event type needs
// no entry here. The types of the tables fix their lengths, and a test fixes their contents.

// statusCodes holds the statuses with a number. Never change or extend it: see above.
var statusCodes = [5]string{
	"", verification.StatusRequiresInput, verification.StatusProcessing,
	verification.StatusVerified, verification.StatusCanceled,
}

// errorCodes holds the codes of a last_error with a number. Never change or extend it: see above. Other codes, such as the
// contract's address_mismatch, are stored as text.
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

// encodeID writes a Stripe id without its prefix. It writes the id verbatim if it has another prefix.
func encodeID(w *writer, prefix string, short, verbatim protowire.Number, id string) {
	if rest, ok := strings.CutPrefix(id, prefix); ok {
		w.text(short, rest)
	} else {
		w.text(verbatim, id)
	}
}

// encodeCode writes a text as its index in a table. It writes the text verbatim if it is not in the table.
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

// encodeState writes the fields in which a state differs from the state before.
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

// encodeOperated writes the fields of operators in which a state differs from the state before. If again is true it also writes values
// that are the same, unless they are zero.
func encodeOperated(w *writer, before, s verification.State, again bool) {
	if s.Resolution != before.Resolution || again && s.Resolution != (verification.Resolution{}) {
		encodeResolution(w, s.Resolution)
	}
	if s.Allowance != before.Allowance || again && s.Allowance != (verification.Allowance{}) {
		encodeAllowance(w, stateAllowance, s.Allowance)
	}
	if s.Overrides != before.Overrides || again && s.Overrides != 0 {
		w.int(stateOverrides, int64(s.Overrides))
	}
}

func encodeResolution(w *writer, resolution verification.Resolution) {
	var packed []byte
	if resolution != (verification.Resolution{}) {
		packed = append(packed, byte(resolution.Kind))
		packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(resolution.Second))
		packed = append(packed, resolution.Principal...)
	}
	w.text(stateResolution, string(packed))
}

func decodeResolution(r *reader, packed []byte) (resolution verification.Resolution) {
	if len(packed) == 0 {
		return resolution
	}
	second, n := protowire.ConsumeVarint(packed[1:])
	if n < 0 {
		r.fail("a resolution")
		return resolution
	}
	return verification.Resolution{
		Kind: verification.ResolutionKind(packed[0]), Second: protowire.DecodeZigZag(second), Principal: string(packed[1+n:]),
	}
}

// The bits of an allowance.
const (
	allowanceGiven       = 1
	allowanceReplacement = 2
)

func encodeAllowance(w *writer, num protowire.Number, allowance verification.Allowance) {
	var packed []byte
	if allowance != (verification.Allowance{}) {
		var bits byte
		if allowance.Given {
			bits |= allowanceGiven
		}
		if allowance.Replacement {
			bits |= allowanceReplacement
		}
		packed = protowire.AppendFixed64(append(packed, bits), allowance.Failure)
	}
	w.text(num, string(packed))
}

func decodeAllowance(r *reader, packed []byte) (allowance verification.Allowance) {
	if len(packed) == 0 {
		return allowance
	}
	failure, n := protowire.ConsumeFixed64(packed[1:])
	if n < 0 || len(packed) != 1+n {
		r.fail("an allowance")
		return allowance
	}
	return verification.Allowance{
		Given: packed[0]&allowanceGiven != 0, Replacement: packed[0]&allowanceReplacement != 0, Failure: failure,
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

// decodeStateField reads one field into s, which holds the state before. It returns false if the field is not a state's.
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
	case stateRedaction: // an unknown number is kept and counts as a redaction
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
	case stateResolution:
		s.Resolution = decodeResolution(r, r.bytes(f))
	case stateAllowance:
		s.Allowance = decodeAllowance(r, r.bytes(f))
	case stateOverrides:
		s.Overrides = r.int32(f)
	default:
		return false
	}
	return true
}
