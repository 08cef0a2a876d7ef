package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// details are what an error of the service carries; a kind of detail that is not there is nil.
type details struct {
	code         codes.Code
	message      string
	info         *errdetails.ErrorInfo
	badRequest   *errdetails.BadRequest
	retry        *errdetails.RetryInfo
	precondition *errdetails.PreconditionFailure
}

func detailsOf(t *testing.T, err error) details {
	t.Helper()
	s, ok := status.FromError(err)
	if !ok {
		t.Fatalf("%v is no status", err)
	}
	d := details{code: s.Code(), message: s.Message()}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			d.info = detail
		case *errdetails.BadRequest:
			d.badRequest = detail
		case *errdetails.RetryInfo:
			d.retry = detail
		case *errdetails.PreconditionFailure:
			d.precondition = detail
		default:
			t.Errorf("unexpected detail %T", detail)
		}
	}
	return d
}

// field is the one field that the error blames, or "".
func (d details) field() string {
	if len(d.badRequest.GetFieldViolations()) != 1 {
		return ""
	}
	return d.badRequest.GetFieldViolations()[0].GetField()
}

// wantError fails unless err is what the contract says of a reason.
func wantError(t *testing.T, err error, code codes.Code, reason verificationv1.ErrorReason) details {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", reason)
	}
	d := detailsOf(t, err)
	if d.code != code || d.info.GetReason() != reason.String() || d.info.GetDomain() != "verification.v1" {
		t.Fatalf("%v (%s), ErrorInfo %v; want %v with %v", d.code, d.message, d.info, code, reason)
	}
	return d
}

func newErrorService(logged *bytes.Buffer) *Service {
	return New(Config{
		Live:   uncached{},
		Clock:  func() time.Time { return time.Unix(1000, 0) },
		Logger: slog.New(slog.NewTextHandler(logged, nil)),
	})
}

func denial(d verification.Denial) *deniedError {
	return &deniedError{decision: verification.Decision{Denial: d}}
}

func TestEveryKindOfErrorHasItsCodeReasonAndDetails(t *testing.T) {
	type want struct {
		code   codes.Code
		reason verificationv1.ErrorReason
		retry  time.Duration // of RetryInfo; 0: there is none
		field  string        // of BadRequest
	}
	tests := []struct {
		err  error
		want want
	}{
		{invalid("min_revision", "is negative"), want{codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, 0, "min_revision"}},
		{store.ErrNotFound, want{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, 0, ""}},
		{errOtherAccount, want{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, 0, ""}},
		{verification.ErrStripeUnknown, want{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN, 0, ""}},
		{denial(verification.DenialLimitReached), want{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED, 0, ""}},
		{resumetoken.ErrInvalid, want{codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, 0, "resume_token"}},
		{errTokenExpired, want{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, 0, ""}},
		{store.ErrTrimmed, want{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, 0, ""}},
		{store.ErrRewound, want{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, 0, ""}},
		{errRevisionLost, want{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST, 0, ""}},
		{store.ErrUnavailable, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE, time.Second, ""}},
		{context.DeadlineExceeded, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE, time.Second, ""}},
		{verification.ErrStripeUnavailable, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE, time.Second, ""}},
		{fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, context.DeadlineExceeded), want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE, time.Second, ""}},
		{verification.ErrStripeUnauthorized, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE, time.Minute, ""}},
		{verification.ErrStripeBudget, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE, 24*time.Hour - 1000*time.Second, ""}}, // midnight,
		{errNoLink, want{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED, 0, ""}},
		{&verification.StripeRefusedError{Code: "parameter_invalid"}, want{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED, 0, ""}},
		{verification.ErrStripeNotConfigured, want{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED, 0, ""}},
		{errDraining, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING, time.Second, ""}},
		{errStalled, want{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_STREAM_STALLED, 0, ""}},
		{errStreamExpired, want{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STREAM_EXPIRED, time.Second, ""}},
		{store.ErrConflict, want{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT, time.Second, ""}},
		{errOvertaken, want{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT, time.Second, ""}},
		{&consumers.BusyError{RetryAfter: 7 * time.Second}, want{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY, 7 * time.Second, ""}},
		{&consumers.BusyError{RetryAfter: time.Millisecond}, want{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY, busyAfter, ""}},
		{errNoConsumer, want{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND, 0, ""}},
		{errConsumerDeleted, want{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND, 0, ""}},
		{consumers.ErrExpired, want{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED, 0, ""}},
		{consumers.ErrNotOwner, want{codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED, 0, ""}},
		{store.ErrTooManyConsumers, want{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS, 0, ""}},
		{store.ErrConsumerShare, want{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS, 0, ""}},
		{store.ErrCorrupt, want{codes.Internal, verificationv1.ErrorReason_ERROR_REASON_INTERNAL, 0, ""}},
		{errors.New("boom"), want{codes.Internal, verificationv1.ErrorReason_ERROR_REASON_INTERNAL, 0, ""}},
	}
	covered := map[string]bool{}
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			var logged bytes.Buffer
			// Wrapped, as errors arrive.
			d := wantError(t, newErrorService(&logged).failRetry(t.Context(), fmt.Errorf("somewhere: %w", test.err)), test.want.code, test.want.reason)
			if got := d.retry.GetRetryDelay().AsDuration(); got != test.want.retry {
				t.Errorf("RetryInfo %v, want %v", got, test.want.retry)
			}
			if d.field() != test.want.field {
				t.Errorf("BadRequest blames %q, want %q", d.field(), test.want.field)
			}
			if (d.precondition != nil) != (test.want.reason == verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED) {
				t.Errorf("PreconditionFailure %v", d.precondition)
			}
			if strings.Contains(d.message, "somewhere") {
				t.Errorf("the message %q tells what is inside", d.message)
			}
			if isInternal := test.want.code == codes.Internal; isInternal != (logged.Len() > 0) {
				t.Errorf("logged %q; only faults of this service are", logged.String())
			}
		})
		covered[test.want.reason.String()] = true
	}
	// The rest is made by the server around this service, before a call comes here.
	elsewhere := []verificationv1.ErrorReason{
		verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED,
		verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
		verificationv1.ErrorReason_ERROR_REASON_OVERLOADED, verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED,
	}
	// No part of this version makes these yet.
	notBuilt := []verificationv1.ErrorReason{
		verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT, verificationv1.ErrorReason_ERROR_REASON_NOT_COMPARABLE,
	}
	for _, reason := range slices.Concat(elsewhere, notBuilt) {
		covered[reason.String()] = true
	}
	for _, name := range verificationv1.ErrorReason_name {
		if !covered[name] {
			t.Errorf("%s has no test", name)
		}
	}
}

func TestAFaultOfThisServiceTellsNothingOfItself(t *testing.T) {
	var logged bytes.Buffer
	err := newErrorService(&logged).failRetry(t.Context(), errors.New("password hunter2 at 10.0.0.1"))
	if d := detailsOf(t, err); strings.Contains(d.message, "hunter2") || strings.Contains(d.message, "10.0") {
		t.Errorf("message %q", d.message)
	}
	if !strings.Contains(logged.String(), "hunter2") {
		t.Error("the log does not say what happened")
	}
}

func TestEveryDenialIsAnswered(t *testing.T) {
	s := newErrorService(&bytes.Buffer{})
	for number := verification.DenialProcessing; number <= verification.DenialResolved; number++ {
		name := verificationv1.RetryDenial(number).String()
		e := &deniedError{decision: verification.Decision{Denial: number}}
		if number == verification.DenialCooldown {
			e.decision.NextRetry = time.Unix(1090, 0)
		}
		if number == verification.DenialSuperseded {
			e.supersededBy = "vs_2"
		}
		d := wantError(t, s.fail(t.Context(), e), codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
		if d.info.GetMetadata()["denial"] != name {
			t.Errorf("%s: metadata %v", name, d.info.GetMetadata())
		}
		if got := d.info.GetMetadata()["superseded_by"]; got != e.supersededBy {
			t.Errorf("%s: superseded_by %q", name, got)
		}
		if violations := d.precondition.GetViolations(); len(violations) != 1 || violations[0].GetType() != name || violations[0].GetDescription() == denialText(verification.DenialNone) {
			t.Errorf("%s: PreconditionFailure %v", name, d.precondition)
		}
		wantDelay := time.Duration(0)
		if number == verification.DenialCooldown {
			wantDelay = 90 * time.Second
		}
		if (d.retry != nil) != (wantDelay > 0) || d.retry.GetRetryDelay().AsDuration() != wantDelay {
			t.Errorf("%s: RetryInfo %v", name, d.retry)
		}
	}
}

// A server without a key has not asked Stripe, and must not say what Stripe knows.
func TestNotFoundNamesWhereItLooked(t *testing.T) {
	s := newErrorService(&bytes.Buffer{})
	for _, test := range []struct {
		stripe Stripe
		want   string
	}{
		{nil, "no such verification session is known here; this server has no Stripe API key, so Stripe was not asked"},
		{&fakeStripe{}, "no such verification session is known here or at Stripe"},
	} {
		s.config.Stripe = test.stripe
		err := s.fail(t.Context(), fmt.Errorf("get: %w", store.ErrNotFound))
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		if got := status.Convert(err).Message(); got != test.want {
			t.Errorf("with %T at Stripe: got %q, want %q", test.stripe, got, test.want)
		}
	}
}

func TestStripesRefusalIsAnsweredWithItsCode(t *testing.T) {
	for want, refused := range map[string]error{
		"parameter_invalid": &verification.StripeRefusedError{Code: "parameter_invalid"},
		"no_link":           errNoLink,
		// As the adapter wraps it: one account's refusal, which must not read like a refused key.
		"account_invalid": fmt.Errorf("an account (%w)", &verification.StripeRefusedError{Code: "account_invalid"}),
	} {
		d := wantError(t, newErrorService(&bytes.Buffer{}).failRetry(t.Context(), fmt.Errorf("somewhere: %w", refused)),
			codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
		if got := d.info.GetMetadata()["stripe_code"]; got != want {
			t.Errorf("stripe_code %q, want %q", got, want)
		}
		if strings.Contains(d.message, "key") || strings.Contains(d.message, "somewhere") {
			t.Errorf("%s: message %q", want, d.message)
		}
	}
}

func TestACallersOwnEndIsAnsweredAsSuch(t *testing.T) {
	s := newErrorService(&bytes.Buffer{})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancelLate()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		want codes.Code
	}{
		{canceled, context.Canceled, codes.Canceled},
		{late, context.DeadlineExceeded, codes.DeadlineExceeded},
		{canceled, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, context.Canceled), codes.Canceled},
		{late, store.ErrNotFound, codes.NotFound}, // known for certain, however late
	} {
		if got := status.Code(s.fail(test.ctx, test.err)); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

// A send fails when the caller has gone: that is gRPC's error, and no fault to be logged.
func TestASendThatFailedIsNoFaultOfOurs(t *testing.T) {
	var logged bytes.Buffer
	err := newErrorService(&logged).failRetry(t.Context(), status.Error(codes.Canceled, "context canceled"))
	if status.Code(err) != codes.Canceled || logged.Len() > 0 {
		t.Errorf("%v, logged %q", err, &logged)
	}
}

// TestACallWithoutABudgetIsReported: the contract has one reason for a Stripe that fails and for reads that are spent, so the metrics and
// the log must tell them apart.
func TestACallWithoutABudgetIsReported(t *testing.T) {
	for _, test := range []struct {
		err  error
		want []bool // for each report, whether it is the caller's share
	}{
		{verification.ErrStripeBudget, []bool{false}},
		{fmt.Errorf("somewhere: %w", verification.ErrStripeShare), []bool{true}},
		{verification.ErrStripeUnavailable, nil},
		{verification.ErrStripeBusy, nil},
		{verification.ErrStripeUnauthorized, nil},
		{store.ErrUnavailable, nil},
		{store.ErrNotFound, nil},
	} {
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "the call's")
		var got []bool
		s := newErrorService(&bytes.Buffer{})
		s.config.OverBudget = func(reported context.Context, share bool) {
			if reported.Value(key{}) == nil {
				t.Errorf("%v: reported with another context than the call's", test.err)
			}
			got = append(got, share)
		}
		wantCode := codes.Unavailable
		if errors.Is(test.err, store.ErrNotFound) {
			wantCode = codes.NotFound
		}
		if err := s.fail(ctx, test.err); status.Code(err) != wantCode {
			t.Errorf("%v: code %v, want %v", test.err, status.Code(err), wantCode)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: reports %v, want %v", test.err, got, test.want)
		}
	}
}
