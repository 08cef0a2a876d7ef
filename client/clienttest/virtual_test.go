package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// TestAVirtualServerLivesInABubble: a day of heartbeats takes no time.
func TestAVirtualServerLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewVirtual(t)
		begun, beats := time.Now(), 0
		for update, err := range server.Client().WatchAll(t.Context(), client.Bookmarks(), client.Heartbeat(time.Minute)) {
			if err != nil || update.Verification != nil {
				t.Fatalf("%v, %v", update, err)
			}
			if beats++; beats == 24*60 {
				break
			}
		}
		if passed := time.Since(begun).Round(time.Minute); passed < 24*time.Hour-2*time.Minute || passed > 25*time.Hour {
			t.Errorf("%d heartbeats took %v", beats, passed)
		}
	})
}
