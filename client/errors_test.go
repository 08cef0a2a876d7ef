package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

var sentinels = map[error]string{
	client.ErrNotFound: "ErrNotFound", client.ErrInvalidRequest: "ErrInvalidRequest",
	client.ErrResumeTokenInvalid: "ErrResumeTokenInvalid", client.ErrResumeTokenExpired: "ErrResumeTokenExpired",
	client.ErrRevisionLost: "ErrRevisionLost", client.ErrUnauthenticated: "ErrUnauthenticated",
	client.ErrPermissionDenied: "ErrPermissionDenied", client.ErrStripeNotConfigured: "ErrStripeNotConfigured",
	client.ErrStripeRefused: "ErrStripeRefused", client.ErrStripeSessionUnknown: "ErrStripeSessionUnknown",
	client.ErrConsumerNotFound: "ErrConsumerNotFound", client.ErrConsumerExpired: "ErrConsumerExpired",
	client.ErrConsumerBusy: "ErrConsumerBusy", client.ErrTooManyConsumers: "ErrTooManyConsumers",
	client.ErrOutcomeChanged: "ErrOutcomeChanged", client.ErrComparisonLimit: "ErrComparisonLimit", client.ErrNotComparable: "ErrNotComparable",
	client.ErrUnavailable: "ErrUnavailable", context.Canceled: "Canceled", context.DeadlineExceeded: "DeadlineExceeded",
}

func matching(err error) map[string]bool {
	found := map[string]bool{}
	for sentinel, name := range sentinels {
		if errors.Is(err, sentinel) {
			found[name] = true
		}
	}
	return found
}

func TestErrorsByReasonAndCode(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	reason := func(name string) error {
		return clienttest.Error(verificationv1.ErrorReason(verificationv1.ErrorReason_value["ERROR_REASON_"+name]))
	}
	for _, test := range []struct {
		name string
		sent error
		want []string
	}{
		{"not found", reason("SESSION_NOT_FOUND"), []string{"ErrNotFound"}},
		{"invalid", reason("INVALID_REQUEST"), []string{"ErrInvalidRequest"}},
		{"token invalid", reason("RESUME_TOKEN_INVALID"), []string{"ErrInvalidRequest", "ErrResumeTokenInvalid"}},
		{"token expired", reason("RESUME_TOKEN_EXPIRED"), []string{"ErrResumeTokenExpired"}},
		{"revision lost", reason("REVISION_LOST"), []string{"ErrRevisionLost"}},
		{"store", reason("STORE_UNAVAILABLE"), []string{"ErrUnavailable"}},
		{"rate", reason("RATE_LIMITED"), []string{"ErrUnavailable"}},
		{"no key", reason("STRIPE_NOT_CONFIGURED"), []string{"ErrStripeNotConfigured"}},
		{"refused", reason("STRIPE_REFUSED"), []string{"ErrStripeRefused"}},
		{"unknown at Stripe", reason("STRIPE_SESSION_UNKNOWN"), []string{"ErrStripeSessionUnknown"}},
		{"no consumer", reason("CONSUMER_NOT_FOUND"), []string{"ErrConsumerNotFound"}},
		{"expired", reason("CONSUMER_EXPIRED"), []string{"ErrConsumerExpired"}},
		{"busy", reason("CONSUMER_BUSY"), []string{"ErrConsumerBusy"}},
		{"too many", reason("TOO_MANY_CONSUMERS"), []string{"ErrTooManyConsumers"}},
		{"compared too often", reason("COMPARISON_LIMIT"), []string{"ErrComparisonLimit"}},
		{"not comparable", reason("NOT_COMPARABLE"), []string{"ErrNotComparable"}},
		{"a conflict of a retry", clienttest.OutcomeChanged(), nil},
		{"who", reason("UNAUTHENTICATED"), []string{"ErrUnauthenticated"}},
		{"denied", reason("PERMISSION_DENIED"), []string{"ErrPermissionDenied"}},
		{"internal", reason("INTERNAL"), nil},
		{"a proxy's", status.Error(codes.PermissionDenied, "no"), []string{"ErrPermissionDenied"}},
		{"late", status.Error(codes.DeadlineExceeded, "late"), []string{"DeadlineExceeded"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.Fail(test.sent)
			defer server.Fail(nil)
			_, err := c.Retry(within(t), "vs_1")
			want := map[string]bool{}
			for _, name := range test.want {
				want[name] = true
			}
			if diff := cmp.Diff(want, matching(err)); diff != "" {
				t.Errorf("errors.Is of %v: %s", err, diff)
			}
			var e *client.Error
			if !errors.As(err, &e) || e.Code != status.Code(test.sent) || status.Code(err) != e.Code {
				t.Errorf("%#v of code %v", e, status.Code(err))
			}
			received, ok := status.FromError(err)
			if !ok || len(received.Details()) != len(status.Convert(test.sent).Details()) {
				t.Errorf("status %v lost its details", received)
			}
		})
	}
}

func TestErrorTellsTheWait(t *testing.T) {
	server := newServer(t)
	server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE))
	_, err := server.Client().Retry(within(t), "vs_1")
	var e *client.Error
	if !errors.As(err, &e) || e.RetryAfter != time.Millisecond || e.Reason != verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE {
		t.Errorf("%+v", e)
	}
}

func TestTheCallersEndIsTheirs(t *testing.T) {
	server := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := server.Client().Status(ctx, client.Session("vs_1"))
	if !errors.Is(err, context.Canceled) || status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
}

func TestRetryIsDenied(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	v := session("vs_1", verified)
	v.SupersededBy = "vs_2"
	server.Set(v)
	_, err := c.Retry(within(t), "vs_1")
	var denied *client.RetryDeniedError
	if !errors.As(err, &denied) || denied.Denial != verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED || denied.SupersededBy != "vs_2" || !denied.NextRetryTime.IsZero() {
		t.Errorf("%+v of %v", denied, err)
	}
	var e *client.Error
	if !errors.As(err, &e) || status.Code(err) != codes.FailedPrecondition || e.Metadata["superseded_by"] != "vs_2" {
		t.Errorf("%+v", e)
	}
	server.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
		return nil, clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN, "", time.Hour)
	})
	before := time.Now()
	_, err = c.Retry(within(t), "vs_1")
	if !errors.As(err, &denied) || denied.NextRetryTime.Before(before.Add(time.Hour)) || denied.NextRetryTime.After(time.Now().Add(time.Hour)) {
		t.Errorf("%+v of %v", denied, err)
	}
}
