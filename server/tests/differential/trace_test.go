package differential

import (
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// TestG8_ARevisionLostBeforeTheFeedShowsItIsNotServedForLong: a replica knows of a commit, its own or one that it has read,
// and Redis loses it before the replica's follower has read its entry. The position of the follower is valid before and
// after, and the commits of others follow it: the feed holds no sign of the loss.
func TestG8_ARevisionLostBeforeTheFeedShowsItIsNotServedForLong(t *testing.T) {
	for _, by := range []struct {
		name      string
		committer int // the replica that is asked is 1
	}{{"committed by itself", 1}, {"read", 0}} {
		t.Run(by.name, func(t *testing.T) {
			form := startPair(t, false)
			r := newRound(t, form, choices{1, 0}, false)
			apply := func(replica int, event verification.Event) {
				t.Helper()
				if _, err := r.replicas[replica].ingest.Apply(t.Context(), event); err != nil {
					t.Fatal(err)
				}
			}
			shown := func(least int32) int32 {
				t.Helper()
				request := &verificationv1.GetStatusRequest{Subject: bySession("vs_0000"), MinRevision: least}
				response, err := r.get(t.Context(), r.replicas[1], request)
				if err != nil {
					t.Fatal(err)
				}
				return response.GetVerification().GetRevision()
			}
			created := r.stripe.events()[0]
			apply(0, created)
			processing := created
			processing.ID, processing.Type, processing.Second = "evt_2", verification.EventProcessing, created.Second+9
			processing.Object.Status = verification.StatusProcessing
			_ = pause(t.Context(), time.Second) // both replicas have read the feed and cached the session
			if got := shown(0); got != 1 {
				t.Fatalf("revision %d; want 1", got)
			}

			lose := form.masters()[0].Keep()
			form.proxies[1].stallFeed(900 * time.Millisecond)
			_ = pause(t.Context(), 300*time.Millisecond) // the read that was under way is over
			apply(by.committer, processing)
			if got := shown(2); got != 2 {
				t.Fatalf("revision %d; want 2", got)
			}
			lose()

			_ = pause(t.Context(), lossVisible)
			for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); _ = pause(t.Context(), 50*time.Millisecond) {
				if got := shown(0); got != 1 {
					t.Fatalf("%v after a loss and more, a replica shows revision %d; Redis has 1", lossVisible, got)
				}
			}
		})
	}
}
