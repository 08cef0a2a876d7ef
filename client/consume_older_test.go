package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// noted is a FeedService that notes what was acknowledged.
type noted struct {
	verificationv1.FeedServiceClient
	tokens []string
}

func (n *noted) AcknowledgeChanges(_ context.Context, request *verificationv1.AcknowledgeChangesRequest, _ ...grpc.CallOption) (*verificationv1.AcknowledgeChangesResponse, error) {
	n.tokens = append(n.tokens, request.GetResumeToken())
	return &verificationv1.AcknowledgeChangesResponse{}, nil
}

// served is the first response of a stream of the consumer "mailer".
func served(token string) *verificationv1.WatchStatusResponse {
	return &verificationv1.WatchStatusResponse{ResumeToken: token, Consumer: "mailer"}
}

func outcome(id string, revision int32, token string) *verificationv1.WatchStatusResponse {
	return &verificationv1.WatchStatusResponse{ResumeToken: token, Verification: &verificationv1.Verification{
		SessionId: id, Revision: revision, OutcomeRevision: revision, OutcomeId: fmt.Sprint(id, revision),
	}}
}

// consume runs Consume on a script to the end, and returns what was handled, what was acknowledged, and the error.
func (s *script) consume(t *testing.T, options ...ConsumeOption) (handled, acknowledged []string, err error) {
	t.Helper()
	c, feed := s.client(), &noted{}
	c.feed = feed
	err = c.Consume(t.Context(), "mailer", func(_ context.Context, u Update) error {
		handled = append(handled, u.Verification.GetOutcomeId())
		return nil
	}, options...)
	return handled, feed.tokens, err
}

func refusedToken(t *testing.T) error {
	t.Helper()
	s, err := status.New(codes.InvalidArgument, "no token of this watch").WithDetails(&errdetails.ErrorInfo{
		Domain: errorDomain, Reason: verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID.String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// TestAServerThatIsOlderThanConsumersIsPassedOver: it ignores the field, refuses it, or does not know outcomes.
func TestAServerThatIsOlderThanConsumersIsPassedOver(t *testing.T) {
	old := outcome("vs_1", 1, "x")
	old.Verification.OutcomeRevision = 0
	synctest.Test(t, func(t *testing.T) {
		s := new(script).
			then(0, nil, beat("x"), outcome("vs_1", 1, "x")).
			then(0, status.Error(codes.Unimplemented, "consumer: not supported")).
			then(0, nil, &verificationv1.WatchStatusResponse{ResumeToken: "x", Consumer: "other"}).
			then(0, io.EOF, served("a"), outcome("vs_1", 1, "b")).
			then(0, nil, served("b"), old).
			then(0, refusedToken(t)). // it ignores the name, and does not know such tokens
			then(0, io.EOF, served("b"), outcome("vs_1", 2, "c"))
		handled, acknowledged, err := s.consume(t)
		if want := []string{"vs_11", "vs_12"}; !slices.Equal(handled, want) {
			t.Errorf("handled %q; want %q", handled, want)
		}
		if want := []string{"", "", "", "", "b", "b", "b", "c"}; !slices.Equal(s.requests, want) {
			t.Errorf("the tokens of the streams are %q; want %q", s.requests, want)
		}
		if want := []bool{false, false, false, false, true, true, true, true}; !slices.Equal(s.must, want) {
			t.Errorf("must_exist of the streams is %v; want %v", s.must, want)
		}
		if len(acknowledged) == 0 || acknowledged[len(acknowledged)-1] != "c" || slices.Contains(acknowledged, "x") {
			t.Errorf("acknowledged %q; want c at last, and never x", acknowledged)
		}
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("ended with %v; want the script's last error", err)
		}
	})
}

// TestConsumeGivesUpWhereNoServerKnowsConsumers: the address can be a wrong one.
func TestConsumeGivesUpWhereNoServerKnowsConsumers(t *testing.T) {
	for name, end := range map[string]error{"unimplemented": status.Error(codes.Unimplemented, "404"), "ignored": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(script)
				for range 2 * olderTries {
					if end == nil {
						s.then(0, nil, beat("x"))
					} else {
						s.then(0, end)
					}
				}
				begun := time.Now()
				_, _, err := s.consume(t)
				if len(s.requests) != olderTries || err == nil || errors.Is(err, ErrNotFound) {
					t.Errorf("ended with %v after %d streams; want %d", err, len(s.requests), olderTries)
				}
				if passed := time.Since(begun); passed > 2*time.Minute {
					t.Errorf("it took %v; want 2 minutes at most", passed)
				}
			})
		})
	}
}

// TestARepeatedOutcomeIsHandledOnce: also if another revision stands for it, and not if the store has learned another
// outcome under its revision.
func TestARepeatedOutcomeIsHandledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tombstone := outcome("vs_1", 1, "c")
		tombstone.Verification.Revision = 5
		relearned := outcome("vs_1", 1, "e")
		relearned.Verification.OutcomeId = "another"
		s := new(script).
			then(0, io.EOF, served("a"), outcome("vs_1", 1, "b"), outcome("vs_1", 1, "b"), tombstone).
			then(0, io.EOF, served("c"), outcome("vs_1", 1, "d"), relearned)
		handled, acknowledged, _ := s.consume(t)
		if want := []string{"vs_11", "another"}; !slices.Equal(handled, want) {
			t.Errorf("handled %q; want %q", handled, want)
		}
		if len(acknowledged) == 0 || acknowledged[len(acknowledged)-1] != "e" {
			t.Errorf("acknowledged %q; want e at last", acknowledged)
		}
	})
}

func TestRecentIsBounded(t *testing.T) {
	r := newRecent(3)
	key := func(n int32) handledKey { return handledKey{session: "vs_1", revision: n} }
	for n := range int32(10) {
		r.add(key(n))
		r.add(key(n))
	}
	for n := range int32(10) {
		if got, want := r.has(key(n)), n >= 7; got != want {
			t.Errorf("has(%d) is %v; want %v", n, got, want)
		}
	}
	if len(r.keys) != 3 {
		t.Errorf("%d keys are kept; want 3", len(r.keys))
	}
}
