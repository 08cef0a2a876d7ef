package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
)

// versions are api_versions of events, as endpoints of all ages get them.
var versions = []any{"2023-10-16", "2024-09-30.acacia", "2026-08-26.dahlia", "2019-02-19", "", nil}

// life is all that Stripe has to tell of one session, in five different seconds.
type life struct {
	id     string
	events []event
}

func newLife(rng *rand.Rand, n int) life {
	l := life{id: fmt.Sprintf("vs_Life%05d", n)}
	second := time.Now().Unix() - 3600 - rng.Int64N(1000)
	for i, e := range []struct {
		kind   string
		object fields
	}{
		{"created", fields{}},
		{"processing", fields{"status": "processing"}},
		{"requires_input", fields{"last_error": failed("document_expired"), "last_verification_report": l.id + "_vr1"}},
		{"processing", fields{"status": "processing", "last_verification_report": l.id + "_vr1"}},
		{"verified", fields{"status": "verified", "last_verification_report": l.id + "_vr2"}},
	} {
		second += 1 + rng.Int64N(60)
		e.object["client_reference_id"] = l.id + "_person"
		l.events = append(l.events, newEvent(fmt.Sprintf("evt_%s_%d", l.id, i), e.kind, l.id, second, versions[rng.IntN(len(versions))], e.object))
	}
	return l
}

func (l life) eventIDs() (ids []string) {
	for _, e := range l.events {
		ids = append(ids, e.id)
	}
	return ids
}

func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestG1_G2_G4_ThousandLives: a thousand lives, all events shuffled and each sent one to three times
// over 32 connections to two servers with one Redis, are told as they were.
func TestG1_G2_G4_ThousandLives(t *testing.T) {
	redis := redistest.Start(t)
	env := settings(redis.Addr)
	servers := [2]*process{serve(t, env), serve(t, env)}
	rng := newRand(t)
	lives, mail := makeLives(rng, 1000)

	began := time.Now()
	var group errgroup.Group
	for connection := range 32 {
		group.Go(func() error {
			client := newHTTPClient(t)
			for e := range mail {
				response, text, err := post(client, servers[connection%2].webhook, sign(time.Now(), webhookSecret, e.body), e.body)
				if err != nil {
					return err
				}
				if response.StatusCode != http.StatusOK {
					return fmt.Errorf("event %s: %s %q", e.id, response.Status, text)
				}
			}
			return nil
		})
	}
	sent := cap(mail)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d webhooks in %v: %.0f a second", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds())
	checkLives(t, lives, dialed(t, servers[0]), dialed(t, servers[1]))
}

// TestG2_G3_LivesOutliveACrash: with an API key, and one of the servers killed in the middle. What
// was not acknowledged is sent again, as Stripe does; what was is not.
func TestG2_G3_LivesOutliveACrash(t *testing.T) {
	redis := redistest.Start(t)
	var asked atomic.Int64
	stripe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/events" { // the catch-up asks at every start
			asked.Add(1)
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(stripe.Close)
	env := settings(redis.Addr, "STRIPE_API_KEY="+apiKey, "STRIPE_API_BASE="+stripe.URL)
	survivor, victim := serve(t, env), serve(t, env)
	rng := newRand(t)
	lives, mail := makeLives(rng, 300)
	killAfter := int64(cap(mail) / 3)

	var sent, again atomic.Int64
	var once sync.Once
	var group errgroup.Group
	for connection := range 32 {
		group.Go(func() error {
			client := newHTTPClient(t)
			for e := range mail {
				if sent.Add(1) == killAfter {
					once.Do(victim.kill)
				}
				url := survivor.webhook
				if connection%2 == 1 {
					url = victim.webhook
				}
				response, _, err := post(client, url, sign(time.Now(), webhookSecret, e.body), e.body)
				if err == nil && response.StatusCode == http.StatusOK {
					continue
				}
				again.Add(1)
				response, text, err := post(client, survivor.webhook, sign(time.Now(), webhookSecret, e.body), e.body)
				if err != nil || response.StatusCode != http.StatusOK {
					return fmt.Errorf("event %s: %v %q", e.id, err, text)
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
	checkLives(t, lives, dialed(t, survivor), dialed(t, serve(t, env)))
}

// makeLives returns lives, and all of their events in random order, each one to three times; cap is
// how many there are.
func makeLives(rng *rand.Rand, n int) ([]life, chan event) {
	lives := make([]life, n)
	var all []event
	for i := range lives {
		lives[i] = newLife(rng, i)
		for _, e := range lives[i].events {
			for range 1 + rng.IntN(3) {
				all = append(all, e)
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	mail := make(chan event, len(all))
	for _, e := range all {
		mail <- e
	}
	close(mail)
	return lives, mail
}

// checkLives asks both servers for every session.
func checkLives(t *testing.T, lives []life, clients ...verificationv1.VerificationServiceClient) {
	t.Helper()
	for _, l := range lives {
		first := getStatus(t, clients[0], l.id)
		v := first.GetVerification()
		if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetFailedAttempts() != 1 ||
			v.GetLastVerificationReport() != l.id+"_vr2" || v.GetLastError() != nil || !v.GetSettled() {
			t.Fatalf("%s is %v", l.id, v)
		}
		checkHistory(t, first, l.eventIDs())
		for _, client := range clients[1:] {
			if other := getStatus(t, client, l.id); !proto.Equal(other, first) {
				t.Fatalf("two servers differ:\n%v\n%v", first, other)
			}
		}
		ctx := within(t, soon)
		byReference, err := clients[0].GetStatus(ctx, &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: l.id + "_person"},
		})
		if err != nil || byReference.GetVerification().GetSessionId() != l.id {
			t.Fatalf("by reference %s: %v, %v", l.id, byReference, err)
		}
	}
}
