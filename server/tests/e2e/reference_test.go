package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// returningPerson is a person with two sessions, the newer one begun while the older one's events still come.
type returningPerson struct {
	reference    string
	older, newer rig.Life
}

// newReturningPerson gives both lives their reference: the odd ones by the metadata key.
func newReturningPerson(rng *rand.Rand, n int) returningPerson {
	p := returningPerson{reference: fmt.Sprintf("case-%d", n)}
	lives := [2]rig.Life{}
	for i := range lives {
		id := fmt.Sprintf("vs_Person%dSession%d", n, i)
		created := time.Now().Unix() - 3600 + int64(100*i)
		second := created
		for j, step := range []struct {
			kind   string
			object rig.Fields
		}{
			{"created", rig.Fields{}},
			{"processing", rig.Fields{"status": "processing"}},
			{"requires_input", rig.Fields{"last_error": rig.LastError("selfie_face_mismatch"), "last_verification_report": id + "_vr1"}},
			{"processing", rig.Fields{"status": "processing", "last_verification_report": id + "_vr1"}},
			{"verified", rig.Fields{"status": "verified", "last_verification_report": id + "_vr2"}},
		} {
			// Both lives overlap: some events of the older one are later than the birth of the newer.
			second += 1 + rng.Int64N(60)
			step.object["created"] = created
			if n%2 == 0 {
				step.object["client_reference_id"] = p.reference
			} else {
				step.object["metadata"] = rig.Fields{"case_id": p.reference}
			}
			lives[i].Events = append(lives[i].Events, rig.NewEvent(fmt.Sprintf("evt_%s_%d", id, j), step.kind, id, second, nil, step.object))
		}
		lives[i].ID = id
	}
	p.older, p.newer = lives[0], lives[1]
	return p
}

// deliveries are the events of both sessions: the older one's first, all others in any order.
func (p returningPerson) deliveries(rng *rand.Rand) []rig.Event {
	rest := append(append([]rig.Event{}, p.older.Events[1:]...), p.newer.Events...)
	rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return append([]rig.Event{p.older.Events[0]}, rest...)
}

// personWatch watches a person by reference, alternately on two servers, and is cut off now and then.
type personWatch struct {
	t      *testing.T
	person returningPerson

	mu   sync.Mutex // guards seen
	seen []*verificationv1.Verification
}

func (w *personWatch) run(ctx context.Context, rng *rand.Rand, clients [2]verificationv1.VerificationServiceClient) {
	request := &verificationv1.WatchStatusRequest{
		Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: w.person.reference},
	}
	for turn := 0; ctx.Err() == nil; turn++ {
		w.stream(ctx, clients[turn%2], request, 1+rng.IntN(4))
	}
}

// stream reads so many responses, or all until ctx ends.
func (w *personWatch) stream(ctx context.Context, client verificationv1.VerificationServiceClient, request *verificationv1.WatchStatusRequest, most int) {
	streaming, cut := context.WithCancel(ctx)
	defer cut()
	stream, err := client.WatchStatus(streaming, request)
	for range most {
		var response *verificationv1.WatchStatusResponse
		if err == nil {
			response, err = stream.Recv()
		}
		if err != nil {
			if ctx.Err() == nil || status.Code(err) != codes.Canceled {
				w.t.Errorf("%s: %v", w.person.reference, err)
			}
			return
		}
		request.ResumeToken = response.GetResumeToken()
		w.mu.Lock()
		w.seen = append(w.seen, response.GetVerification())
		w.mu.Unlock()
	}
}

func (w *personWatch) last() *verificationv1.Verification {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return nil
	}
	return w.seen[len(w.seen)-1]
}

// check checks that the watch showed at most the older session and then the newer one, and the revisions of each without a
// hole.
func (w *personWatch) check() {
	for i, v := range w.seen {
		if i == 0 {
			continue
		}
		before := w.seen[i-1]
		switch {
		case v.GetSessionId() == before.GetSessionId() && v.GetRevision() != before.GetRevision()+1:
			w.t.Errorf("%s: revision %d of %s follows %d", w.person.reference, v.GetRevision(), v.GetSessionId(), before.GetRevision())
		case v.GetSessionId() != before.GetSessionId() && v.GetSessionId() != w.person.newer.ID:
			w.t.Errorf("%s: goes back to the older session at revision %d", w.person.reference, v.GetRevision())
		}
	}
}

// TestReferences_TwoSessionsOfOnePerson: once the newer session is known, late events of the older one, in any mixture with
// the newer one's, change nothing for callers by reference.
func TestReferences_TwoSessionsOfOnePerson(t *testing.T) {
	const people = 40
	redis := redistest.Start(t)
	env := rig.Settings(redis.Addr, "REFERENCE_METADATA_KEY=case_id")
	servers := [2]*rig.Process{rig.Serve(t, env), rig.Serve(t, env)}
	clients := [2]verificationv1.VerificationServiceClient{rig.ClientOf(t, servers[0]), rig.ClientOf(t, servers[1])}
	rng, sender := newRand(t), rig.NewHTTPClient(t)
	send := func(e rig.Event, to int) error {
		response, text, err := rig.Post(sender, servers[to].Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("event %s: %s %q", e.ID, response.Status, text)
		}
		return err
	}

	ctx, endWatches := context.WithCancel(t.Context())
	defer endWatches()
	var watching sync.WaitGroup
	var sending errgroup.Group
	var watches []*personWatch
	for n := range people {
		p := newReturningPerson(rng, n)
		queue, own := p.deliveries(rng), rand.New(rand.NewPCG(rng.Uint64(), 0))
		if err := send(queue[0], 0); err != nil {
			t.Fatal(err)
		}
		w := &personWatch{t: t, person: p}
		watches = append(watches, w)
		watching.Go(func() { w.run(ctx, own, clients) })
		sending.Go(func() error {
			for i, e := range queue[1:] {
				if err := send(e, (n+i)%2); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, w := range watches {
		want := rig.GetStatus(t, clients[0], w.person.newer.ID).GetVerification()
		rig.Await(t, "the watch of "+w.person.reference+" is at the newer session's end", func() bool {
			last := w.last()
			return last.GetSessionId() == want.GetSessionId() && last.GetRevision() == want.GetRevision()
		})
		for _, client := range clients {
			response, err := client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{
				Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: w.person.reference},
			})
			if v := response.GetVerification(); err != nil || v.GetSessionId() != want.GetSessionId() || v.GetStatus() != verificationv1.Status_STATUS_VERIFIED ||
				v.GetRetry().GetFailedAttempts() != 1 || v.GetClientReferenceId() != w.person.reference {
				t.Errorf("%s: %v, %v", w.person.reference, v, err)
			}
		}
	}
	endWatches()
	watching.Wait()
	responses, followed := 0, 0
	for _, w := range watches {
		w.check()
		responses += len(w.seen)
		if w.seen[0].GetSessionId() == w.person.older.ID {
			followed++
		}
	}
	t.Logf("%d responses; %d of %d watches followed from the older session to the newer", responses, followed, people)
	if followed == 0 {
		t.Error("no watch had to follow")
	}
}
