package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// versions are api_versions of events, as endpoints of all ages get them.
var versions = []any{"2023-10-16", "2024-09-30.acacia", "2026-08-26.dahlia", "2019-02-19", "", nil}

func newLife(rng *rand.Rand, n int) rig.Life {
	l := rig.Life{ID: fmt.Sprintf("vs_Life%05d", n)}
	second := time.Now().Unix() - 3600 - rng.Int64N(1000)
	for i, e := range []struct {
		kind   string
		object rig.Fields
	}{
		{"created", rig.Fields{}},
		{"processing", rig.Fields{"status": "processing"}},
		{"requires_input", rig.Fields{"last_error": rig.LastError("document_expired"), "last_verification_report": l.ID + "_vr1"}},
		{"processing", rig.Fields{"status": "processing", "last_verification_report": l.ID + "_vr1"}},
		{"verified", rig.Fields{"status": "verified", "last_verification_report": l.ID + "_vr2"}},
	} {
		second += 1 + rng.Int64N(60)
		e.object["client_reference_id"] = l.ID + "_person"
		l.Events = append(l.Events, rig.NewEvent(fmt.Sprintf("evt_%s_%d", l.ID, i), e.kind, l.ID, second, versions[rng.IntN(len(versions))], e.object))
	}
	return l
}

func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestG1_G2_G4_ThousandLives: a thousand lives, with all events shuffled and each sent one to three times over 32
// connections to two servers with one Redis, end as they were.
func TestG1_G2_G4_ThousandLives(t *testing.T) {
	redis := redistest.Start(t)
	env := rig.Settings(redis.Addr)
	servers := [2]*rig.Process{rig.Serve(t, env), rig.Serve(t, env)}
	rng := newRand(t)
	lives, queue := makeLives(rng, 1000)

	began := time.Now()
	var group errgroup.Group
	for connection := range 32 {
		group.Go(func() error {
			client := rig.NewHTTPClient(t)
			for e := range queue {
				response, text, err := rig.Post(client, servers[connection%2].Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err != nil {
					return err
				}
				if response.StatusCode != http.StatusOK {
					return fmt.Errorf("event %s: %s %q", e.ID, response.Status, text)
				}
			}
			return nil
		})
	}
	sent := cap(queue)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d webhooks in %v: %.0f a second", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds())
	checkLives(t, lives, rig.ClientOf(t, servers[0]), rig.ClientOf(t, servers[1]))
}

// TestG2_G3_LivesOutliveACrash: one of two servers with an API key is killed in the middle. An event that was not
// acknowledged is sent again, as Stripe does, and an acknowledged event is not.
func TestG2_G3_LivesOutliveACrash(t *testing.T) {
	redis := redistest.Start(t)
	var asked atomic.Int64
	stripe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/identity/") { // the server also lists events and looks at its endpoint
			asked.Add(1)
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(stripe.Close)
	env := rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE="+stripe.URL)
	survivor, victim := rig.Serve(t, env), rig.Serve(t, env)
	rng := newRand(t)
	lives, queue := makeLives(rng, 300)
	killAfter := int64(cap(queue) / 3)

	var sent, again atomic.Int64
	var once sync.Once
	var group errgroup.Group
	for connection := range 32 {
		group.Go(func() error {
			client := rig.NewHTTPClient(t)
			for e := range queue {
				if sent.Add(1) == killAfter {
					once.Do(victim.Kill)
				}
				url := survivor.Webhook
				if connection%2 == 1 {
					url = victim.Webhook
				}
				response, _, err := rig.Post(client, url, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err == nil && response.StatusCode == http.StatusOK {
					continue
				}
				again.Add(1)
				response, text, err := rig.Post(client, survivor.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					return fmt.Errorf("event %s: %v %q", e.ID, err, text)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if again.Load() == 0 {
		t.Error("nothing had to be sent again: the kill came too late to mean anything")
	}
	if asked.Load() != 0 {
		t.Errorf("Stripe was asked %d times for a session although no two events share a second", asked.Load())
	}
	checkLives(t, lives, rig.ClientOf(t, survivor), rig.ClientOf(t, rig.Serve(t, env)))
}

// makeLives returns lives, and all of their events in random order, each one to three times; cap is
// how many there are.
func makeLives(rng *rand.Rand, n int) ([]rig.Life, chan rig.Event) {
	lives := make([]rig.Life, n)
	var all []rig.Event
	for i := range lives {
		lives[i] = newLife(rng, i)
		for _, e := range lives[i].Events {
			for range 1 + rng.IntN(3) {
				all = append(all, e)
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	queue := make(chan rig.Event, len(all))
	for _, e := range all {
		queue <- e
	}
	close(queue)
	return lives, queue
}

// checkLives asks both servers for every session.
func checkLives(t *testing.T, lives []rig.Life, clients ...verificationv1.VerificationServiceClient) {
	t.Helper()
	for _, l := range lives {
		first := rig.GetStatus(t, clients[0], l.ID)
		v := first.GetVerification()
		if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetFailedAttempts() != 1 ||
			v.GetLastVerificationReport() != l.ID+"_vr2" || v.GetLastError() != nil || !v.GetSettled() {
			t.Fatalf("%s is %v", l.ID, v)
		}
		rig.CheckHistory(t, first, l.EventIDs())
		for _, client := range clients[1:] {
			if other := rig.GetStatus(t, client, l.ID); !proto.Equal(other, first) {
				t.Fatalf("two servers differ:\n%v\n%v", first, other)
			}
		}
		ctx := rig.Within(t, rig.Soon)
		byReference, err := clients[0].GetStatus(ctx, &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: l.ID + "_person"},
		})
		if err != nil || byReference.GetVerification().GetSessionId() != l.ID {
			t.Fatalf("by reference %s: %v, %v", l.ID, byReference, err)
		}
	}
}
