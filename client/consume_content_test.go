package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// granted returns a change of revision 3 that brought no outcome. The number of grants is all that tells two of them apart.
func granted(grants int32, token string) *verificationv1.WatchStatusResponse {
	response := change(3, token)
	response.Verification.OutcomeRevision, response.Verification.OutcomeId = 2, "the outcome"
	response.Verification.Retry = &verificationv1.RetryState{RetriesGranted: grants}
	return response
}

// TestAnotherChangeOfTheSameRevisionIsHandled: after the store has lost writes, a revision comes again and stands for another change, of
// the same outcome. Only a change that is the same in all is passed over.
func TestAnotherChangeOfTheSameRevisionIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(script).
			then(0, io.EOF, served("a"), granted(1, "b")).
			then(0, io.EOF, served("a"), granted(1, "b"), granted(2, "c")).
			then(0, ours(codes.NotFound), served("a"))
		c := s.client()
		c.feed = &noted{}
		var handled []int32
		err := c.Consume(t.Context(), "mailer", func(_ context.Context, u Update) error {
			handled = append(handled, u.Verification.GetRetry().GetRetriesGranted())
			return nil
		}, EveryChange())
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("Consume ended with %v; want ErrNotFound", err)
		}
		if want := []int32{1, 2}; !slices.Equal(handled, want) {
			t.Errorf("handled the changes with %d grants; want %d", handled, want)
		}
	})
}
