package checker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// start is the time at which histories begin, in Unix seconds.
const start = 1_700_000_000

// The errors of the histories; their texts are the names of their codes.
var (
	errCanceled    = errors.New(codeCanceled)
	errOutOfRange  = errors.New(codeOutOfRange)
	errInvalid     = errors.New(codeInvalidArgument)
	errNotFound    = errors.New(codeNotFound)
	errUnavailable = errors.New("Unavailable")
)

// history is a recorder that a test tells stories.
type history struct {
	*Recorder
	now time.Time
}

func newHistory() *history {
	h := &history{now: time.Unix(start, 0)}
	h.Recorder = NewRecorder(func() time.Time {
		h.now = h.now.Add(time.Millisecond)
		return h.now
	}, error.Error)
	return h
}

// passes lets so many seconds pass.
func (h *history) passes(seconds int) { h.now = h.now.Add(time.Duration(seconds) * time.Second) }

// loses records a loss that is over at once.
func (h *history) loses(loss Loss) { h.Era(loss)() }

// edit changes a Verification from what `at` makes.
type edit func(*verificationv1.Verification)

// at is session vs_1 at a revision: not submitted, created and updated at the start.
func at(revision int32, edits ...edit) *verificationv1.Verification {
	v := &verificationv1.Verification{
		SessionId: "vs_1", Revision: revision, Type: verificationv1.VerificationType_VERIFICATION_TYPE_DOCUMENT, StripeType: "document",
		CreateTime: &timestamppb.Timestamp{Seconds: start}, UpdateTime: &timestamppb.Timestamp{Seconds: start},
		Retry: &verificationv1.RetryState{},
	}
	is(verification.StatusRequiresInput)(v)
	for _, e := range edits {
		e(v)
	}
	return v
}

// about makes it another session.
func about(id string) edit { return func(v *verificationv1.Verification) { v.SessionId = id } }

func is(status string) edit {
	return func(v *verificationv1.Verification) {
		v.StripeStatus = status
		v.Status = map[string]verificationv1.Status{
			verification.StatusRequiresInput: verificationv1.Status_STATUS_REQUIRES_INPUT,
			verification.StatusProcessing:    verificationv1.Status_STATUS_PROCESSING,
			verification.StatusVerified:      verificationv1.Status_STATUS_VERIFIED,
			verification.StatusCanceled:      verificationv1.Status_STATUS_CANCELED,
		}[status]
		v.Settled = status == verification.StatusVerified || status == verification.StatusCanceled
	}
}

// failedWith shows the failure of a report.
func failedWith(report string) edit {
	return func(v *verificationv1.Verification) {
		v.LastVerificationReport = report
		v.LastError = &verificationv1.VerificationError{
			Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED, StripeCode: "document_expired", Reason: "SECRET reason",
		}
	}
}

func counting(attempts, granted int32) edit {
	return func(v *verificationv1.Verification) {
		v.Retry.FailedAttempts, v.Retry.RetriesGranted = attempts, granted
	}
}

// later moves creation and update by seconds from the start.
func later(created, updated int64) edit {
	return func(v *verificationv1.Verification) {
		v.CreateTime = &timestamppb.Timestamp{Seconds: start + created}
		v.UpdateTime = &timestamppb.Timestamp{Seconds: start + updated}
	}
}

func redacted(redaction verificationv1.Redaction) edit {
	return func(v *verificationv1.Verification) {
		v.Redaction = redaction
		v.Settled = v.Settled || redaction == verificationv1.Redaction_REDACTION_REDACTED
	}
}

func supersededBy(id string) edit {
	return func(v *verificationv1.Verification) { v.SupersededBy = id }
}

var (
	processing = redacted(verificationv1.Redaction_REDACTION_PROCESSING)
	erased     = redacted(verificationv1.Redaction_REDACTION_REDACTED)
	verified   = is(verification.StatusVerified)
	canceled   = is(verification.StatusCanceled)
)

// stream is a watch with a client that resumes with the newest token.
type stream struct {
	*Watch
	tokens []string
}

func (h *history) watch(request *verificationv1.WatchStatusRequest) *stream {
	s := &stream{Watch: h.Watch(request)}
	s.Opened("")
	return s
}

func (h *history) watchOne() *stream {
	return h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: "vs_1"}})
}

func (h *history) watchUntilSettled() *stream {
	return h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: "vs_1"}, UntilSettled: true})
}

func (h *history) watchReference() *stream {
	return h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: "SECRET reference"}, UntilSettled: true})
}

// watchAll also gets the bookmark.
func (h *history) watchAll() *stream {
	return h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{}}).tells(nil)
}

// tells gives responses, each with a token of its own; nil is a sign of life.
func (s *stream) tells(all ...*verificationv1.Verification) *stream {
	for _, v := range all {
		s.tokens = append(s.tokens, fmt.Sprintf("token %p %d", s, len(s.tokens)))
		s.Response(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: s.tokens[len(s.tokens)-1]})
	}
	return s
}

// resumes cuts the stream and resumes it behind the newest response.
func (s *stream) resumes() *stream { return s.resumesBehind(len(s.tokens) - 1) }

// resumesBehind the response of that number, from 0.
func (s *stream) resumesBehind(n int) *stream {
	s.Ended(errUnavailable)
	s.Opened(s.tokens[n])
	return s
}

func (s *stream) ends(err error) *stream {
	s.Ended(err)
	return s
}

// restarts begins again after OUT_OF_RANGE.
func (s *stream) restarts() *stream {
	s.ends(errOutOfRange).Opened("")
	return s
}

// gets is an answer to a GetStatus of vs_1.
func (h *history) gets(least int32, v *verificationv1.Verification, err error) {
	h.Get(&verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, MinRevision: least,
	}, &verificationv1.GetStatusResponse{Verification: v}, err)
}

// getsOf is an answer about another session.
func (h *history) getsOf(v *verificationv1.Verification) {
	h.Get(&verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: v.GetSessionId()}},
		&verificationv1.GetStatusResponse{Verification: v}, nil)
}

// retries is an answer to a RetryVerification of vs_1.
func (h *history) retries(v *verificationv1.Verification, link string) {
	response := &verificationv1.RetryVerificationResponse{Verification: v}
	if link != "" {
		response.ClientSecret, response.Url = "SECRET "+link, "https://verify.example/SECRET/"+link
	}
	h.Retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1"}, response, nil)
}

// fails emits the event of a failure.
func (h *history) fails(id, event, report string) {
	h.Emitted(verification.Event{ID: event, Object: verification.Object{
		ID: id, Status: verification.StatusRequiresInput, Report: report, Error: verification.Error{Code: "document_expired"},
	}})
}

// story is a history and the rule that it breaks; none: it is right.
type story struct {
	name   string
	breaks Rule
	tell   func(h *history)
}

// check demands that a story breaks its rule and no other.
func check(t *testing.T, stories []story, options Options) {
	t.Helper()
	names := make(map[string]bool)
	for _, s := range stories {
		if names[s.name] {
			t.Fatalf("two stories are named %q", s.name)
		}
		names[s.name] = true
		t.Run(s.name, func(t *testing.T) {
			h := newHistory()
			s.tell(h)
			report := h.Check(options)
			if (len(report) > 0) != (s.breaks != "") {
				t.Fatalf("want a breach of %q, got %v", s.breaks, report)
			}
			for _, v := range report {
				if v.Rule != s.breaks || v.Text == "" {
					t.Errorf("want a breach of %q, got %v", s.breaks, v)
				}
			}
		})
	}
}
