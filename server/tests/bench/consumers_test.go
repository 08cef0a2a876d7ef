package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG14_ManyConsumersCostRedisWhatOneCosts: the feed is read once for all of them, and each record once for each of its changes, or
// twice if the change is committed while it is read. What they acknowledge is not counted.
func TestG14_ManyConsumersCostRedisWhatOneCosts(t *testing.T) {
	const consumers, changes = 50, 40
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "CALLER_SHARE_PERCENT=100"))
	p.AwaitLists()
	client, ctx := rig.ClientOf(t, p), rig.Within(t, time.Minute)
	received := make(chan int32, consumers*changes)
	for n := range consumers {
		stream, err := client.WatchStatus(ctx, &verificationv1.WatchStatusRequest{
			Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{Consumer: fmt.Sprintf("consumer-%d", n)}},
		})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				response, err := stream.Recv()
				if err != nil {
					return // the test has ended
				}
				received <- response.GetVerification().GetRevision()
			}
		}()
	}
	http, events := rig.NewHTTPClient(t), rig.Tries("vs_Consumed", changes)
	began, gets, ranges := time.Now(), callsOf(redis, "get"), callsOf(redis, "xrange")
	for n, e := range events {
		rig.Deliver(t, http, p.Webhook, e)
		for range consumers {
			if got := await(ctx, t, received); got != int32(n+1) {
				t.Fatalf("a consumer got revision %d, want %d", got, n+1)
			}
		}
	}
	took := time.Since(began)
	gets, ranges = callsOf(redis, "get")-gets, callsOf(redis, "xrange")-ranges
	t.Logf("%d consumers, %d changes, %v: %d GET, %d XRANGE", consumers, changes, took.Round(time.Millisecond), gets, ranges)
	if most := 3 * changes; gets < changes || gets > most {
		t.Errorf("%d records were read, want %d to %d", gets, changes, most)
	}
	// The server checks its positions in the 16 partitions four times a second, whatever the number of consumers. On a busy
	// machine the tail is not always fresh: then a consumer reads by itself.
	if most := 16*(2+4*int(took/time.Second+1)) + consumers*changes/10; ranges > most {
		t.Errorf("the feed was read %d times, want at most %d", ranges, most)
	}
}

func await(ctx context.Context, t *testing.T, received <-chan int32) int32 {
	t.Helper()
	select {
	case revision := <-received:
		return revision
	case <-ctx.Done():
		t.Fatal("a consumer did not get a change")
		return 0
	}
}

// callsOf returns how many times Redis has run a command.
func callsOf(redis *redistest.Server, command string) (calls int) {
	_, stats, _ := strings.Cut(redis.MustAsk("INFO", "commandstats"), "cmdstat_"+command+":calls=")
	_, _ = fmt.Sscanf(stats, "%d,", &calls)
	return calls
}
