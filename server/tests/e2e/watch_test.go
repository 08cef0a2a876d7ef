package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// watcher watches alternately on two servers, and is cut off again and again.
type watcher struct {
	t       *testing.T
	rng     *rand.Rand
	servers [2]*rig.Process
	turn    int
	request func(token string) *verificationv1.WatchStatusRequest
	token   string
}

// connect opens a stream on the other server than the last time, reads until enough says so, and
// breaks it: by a cancel, or by breaking its connection.
func (w *watcher) connect(enough func(*verificationv1.WatchStatusResponse) bool) {
	w.t.Helper()
	w.turn++
	client, conn := rig.Dial(w.t, w.servers[w.turn%2].GRPC)
	ctx, cancel := context.WithTimeout(w.t.Context(), rig.Soon)
	defer cancel()
	stream, err := client.WatchStatus(ctx, w.request(w.token))
	if err != nil {
		w.t.Fatal(err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			w.t.Fatalf("connection %d ended: %v", w.turn, err)
		}
		if response.GetResumeToken() == "" {
			w.t.Fatalf("a response without a token: %v", response)
		}
		w.token = response.GetResumeToken()
		if enough(response) {
			break
		}
	}
	if w.rng.IntN(2) == 0 {
		cancel()
	}
	_ = conn.Close()
}

// TestG5_WatcherCutAndResumed: a watcher that is cut off and resumes a hundred times during a session, alternately on two
// servers, sees every revision once and in order.
func TestG5_WatcherCutAndResumed(t *testing.T) {
	t.Parallel()
	const cuts, perCut, id = 100, 2, "vs_Watched"
	redis := redistest.Start(t)
	servers := [2]*rig.Process{rig.Serve(t, rig.Settings(redis.Addr)), rig.Serve(t, rig.Settings(redis.Addr))}
	rng := newRand(t)
	events := rig.Tries(id, 1+cuts*perCut)
	sender := rig.NewHTTPClient(t)
	rig.Deliver(t, sender, servers[0].Webhook, events[0])

	// The sender lives on while the watcher is cut off and reconnects: for each connection there are
	// two more events.
	var sending errgroup.Group
	permits := make(chan struct{}, cuts*perCut)
	sending.Go(func() error {
		for i, e := range events[1:] {
			select {
			case <-permits:
			case <-t.Context().Done():
				return t.Context().Err()
			}
			response, _, err := rig.Post(sender, servers[i%3%2].Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				return fmt.Errorf("event %s: %v, %v", e.ID, response, err)
			}
		}
		return nil
	})

	w := &watcher{t: t, rng: rng, servers: servers, request: func(token string) *verificationv1.WatchStatusRequest { return rig.WatchSessionRequest(id, token) }}
	var last int32
	see := func(response *verificationv1.WatchStatusResponse) {
		if revision := response.GetVerification().GetRevision(); revision != last+1 {
			t.Fatalf("connection %d: revision %d after %d", w.turn, revision, last)
		}
		last++
	}
	one := func(response *verificationv1.WatchStatusResponse) bool {
		see(response)
		return true
	}
	w.connect(one) // the snapshot, before anything else happens
	for cut := range cuts {
		for range perCut {
			permits <- struct{}{}
		}
		released := 1 + (cut+1)*perCut
		want := rng.IntN(min(5, released-int(last))) + 1
		w.connect(func(response *verificationv1.WatchStatusResponse) bool {
			see(response)
			want--
			return want == 0
		})
	}
	if int(last) < len(events) {
		w.connect(func(response *verificationv1.WatchStatusResponse) bool {
			see(response)
			return int(last) == len(events)
		})
	}
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, server := range servers {
		if got := rig.GetStatus(t, rig.ClientOf(t, server), id).GetVerification(); got.GetRevision() != last || int(got.GetRetry().GetFailedAttempts()) != cuts {
			t.Errorf("seen to revision %d, %d failures: %v", last, cuts, got)
		}
	}
}

// TestG6_AllSessions: watchers of all sessions, one of which is cut off and resumes on the other server again and again,
// get each change of each session, in the order of the session, from either server.
func TestG6_AllSessions(t *testing.T) {
	const sessions, perSession = 20, 15
	redis := redistest.Start(t)
	servers := [2]*rig.Process{rig.Serve(t, rig.Settings(redis.Addr)), rig.Serve(t, rig.Settings(redis.Addr))}
	rng := newRand(t)

	cut := &watcher{t: t, rng: rng, servers: servers, request: rig.WatchAllRequest}
	steady := &watcher{t: t, rng: rng, servers: servers, request: rig.WatchAllRequest}
	for _, w := range []*watcher{cut, steady} {
		// This is the bookmark: nothing must be missed from here on, although nothing has happened yet.
		w.connect(func(response *verificationv1.WatchStatusResponse) bool {
			if response.GetVerification() != nil {
				t.Fatalf("the first response is no bookmark: %v", response)
			}
			return true
		})
	}
	var sending errgroup.Group
	for n := range sessions {
		sending.Go(func() error {
			client := rig.NewHTTPClient(t)
			for i, e := range rig.Tries(fmt.Sprintf("vs_All%d", n), perSession) {
				response, _, err := rig.Post(client, servers[(n+i)%2].Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					return fmt.Errorf("event %s: %v, %v", e.ID, response, err)
				}
			}
			return nil
		})
	}
	followAll(t, cut, sessions*perSession, func() int { return 1 + rng.IntN(9) })
	followAll(t, steady, sessions*perSession, func() int { return sessions * perSession * 2 })
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
}

// followAll connects until it has seen all changes, each session's in order. A resumed stream can repeat changes. A new
// stream begins with a bookmark.
func followAll(t *testing.T, w *watcher, changes int, perConnection func() int) {
	t.Helper()
	seen := map[string][]int32{}
	count, repeats := 0, 0
	for count < changes {
		left := perConnection()
		w.connect(func(response *verificationv1.WatchStatusResponse) bool {
			if v := response.GetVerification(); v != nil {
				revisions := seen[v.GetSessionId()]
				switch {
				case v.GetRevision() == int32(len(revisions)+1):
					seen[v.GetSessionId()] = append(revisions, v.GetRevision())
					count++
				case slices.Contains(revisions, v.GetRevision()):
					repeats++
				default:
					t.Fatalf("%s: revision %d after %v", v.GetSessionId(), v.GetRevision(), revisions)
				}
			}
			left--
			return left <= 0 || count == changes
		})
	}
	t.Logf("%d changes over %d connections, %d repeats", count, w.turn, repeats)
}
