package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// redactedLife is a life that ends in a redaction, full of texts that must go.
type redactedLife struct {
	id      string
	events  []rig.Event
	markers []string
}

// newRedactedLife is a person's life; the last two events are its redaction.
func newRedactedLife(n int) redactedLife {
	e := redactedLife{id: fmt.Sprintf("vs_Erased%05d", n)}
	mark := func(what string) string {
		marker := fmt.Sprintf("%sOf%05dErased", what, n)
		e.markers = append(e.markers, marker)
		return marker
	}
	reference, reason, report, metadata := mark("Person"), mark("Reason"), "vr_"+mark("Report"), mark("Metadata")
	second := time.Now().Unix() - 3600
	for i, step := range []struct {
		kind   string
		object rig.Fields
	}{
		{"created", rig.Fields{}},
		{"processing", rig.Fields{"status": "processing", "last_verification_report": report}},
		{"requires_input", rig.Fields{"last_error": rig.Fields{"code": "document_expired", "reason": reason}, "last_verification_report": report}},
		{"verified", rig.Fields{"status": "verified", "last_verification_report": report}},
		{"redacted", rig.Fields{"status": "verified", "redaction": rig.Fields{"status": "processing"}}},
		{"redacted", rig.Fields{"status": "verified", "redaction": rig.Fields{"status": "redacted"}}},
	} {
		second += 10
		step.object["client_reference_id"] = reference
		step.object["metadata"] = rig.Fields{"name": metadata}
		e.events = append(e.events, rig.NewEvent(fmt.Sprintf("evt_%s_%d", e.id, i), step.kind, e.id, second, nil, step.object))
	}
	return e
}

// before and after are the events up to the redaction, and the redaction's.
func (e redactedLife) before() []rig.Event { return e.events[:4] }

func (e redactedLife) after() []rig.Event { return e.events[4:] }

// permutations are all orders of n things.
func permutations(n int) (orders [][]int) {
	if n == 0 {
		return [][]int{{}}
	}
	for _, shorter := range permutations(n - 1) {
		for at := range n {
			order := append(append(append([]int{}, shorter[:at]...), n-1), shorter[at:]...)
			orders = append(orders, order)
		}
	}
	return orders
}

// wantErased says that nothing of these people is left: no text, and of the session nothing but its
// tombstone and the feed's entries, which name revisions only.
func wantErased(t *testing.T, dump string, people []redactedLife) {
	t.Helper()
	for _, person := range people {
		for _, marker := range person.markers {
			if at := strings.Index(dump, marker); at >= 0 {
				t.Fatalf("Redis still holds %s: …%s…", marker, dump[max(0, at-200):min(len(dump), at+100)])
			}
		}
	}
	for line := range strings.Lines(dump) {
		key, value, _ := strings.Cut(line, " = ")
		if strings.HasSuffix(key, ":feed") || strings.Contains(key, "}:s:") {
			continue
		}
		for _, person := range people {
			if strings.Contains(value, person.id) {
				t.Fatalf("an index still leads to a redacted session: %s", line)
			}
		}
	}
}

// wantPresent says that each marker but the metadata's, which is never kept, can be found: a scan that
// finds nothing anyway proves nothing.
func wantPresent(t *testing.T, dump string, person redactedLife) {
	t.Helper()
	for _, marker := range person.markers[:3] {
		if !strings.Contains(dump, strings.TrimPrefix(marker, "vr_")) {
			t.Fatalf("Redis does not hold %s even before the redaction", marker)
		}
	}
	found := map[string]bool{}
	for line := range strings.Lines(dump) {
		key, value, _ := strings.Cut(line, " = ")
		for _, index := range []string{"vs:ref:", ":l:"} {
			if strings.Contains(key, index) && strings.Contains(value, person.id) {
				found[index] = true
			}
		}
	}
	if len(found) != 2 {
		t.Fatalf("%s is in these indexes only before the redaction: %v", person.id, found)
	}
	if strings.Contains(dump, person.markers[3]) {
		t.Fatalf("Redis holds metadata: %s", person.markers[3])
	}
}

func wantRedacted(t *testing.T, client verificationv1.VerificationServiceClient, id string) {
	t.Helper()
	response := rig.GetStatus(t, client, id)
	if v := response.GetVerification(); v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED || len(response.GetHistory()) != 0 {
		t.Fatalf("%s is %v with %d entries of history", id, v.GetRedaction(), len(response.GetHistory()))
	}
}

// deliverAll posts events over many connections to several servers, in their order within each sequence.
func deliverAll(t *testing.T, servers []*rig.Process, sequences [][]rig.Event) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	client := rig.NewHTTPClient(t)
	for n, sequence := range sequences {
		group.Go(func() error {
			for _, e := range sequence {
				response, text, err := rig.Post(client, servers[n%len(servers)].Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
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
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestG11_InEachOrder lets the six events of a life arrive in each of their 720 orders.
func TestG11_InEachOrder(t *testing.T) {
	redis := redistest.Start(t)
	servers := []*rig.Process{rig.Serve(t, rig.Settings(redis.Addr)), rig.Serve(t, rig.Settings(redis.Addr))}
	witness := newRedactedLife(99999)
	deliverAll(t, servers, [][]rig.Event{witness.before()})
	dump, _ := dumpKeys(t, redis.Addr, "")
	wantPresent(t, dump, witness)
	deliverAll(t, servers, [][]rig.Event{witness.after()})

	people, sequences := []redactedLife{witness}, [][]rig.Event{}
	for n, order := range permutations(len(witness.events)) {
		person := newRedactedLife(n)
		var sequence []rig.Event
		for _, at := range order {
			sequence = append(sequence, person.events[at])
		}
		people, sequences = append(people, person), append(sequences, sequence)
	}
	deliverAll(t, servers, sequences)
	dump, _ = dumpKeys(t, redis.Addr, "")
	wantErased(t, dump, people)
	for _, person := range people {
		wantRedacted(t, rig.ClientOf(t, servers[0]), person.id)
	}
}

// TestG11_RacedWithTheIndex lets all events of a life arrive at once at two servers. On a Cluster the
// index of references is in another slot than the record, and is written after it.
func TestG11_RacedWithTheIndex(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	env := rig.Settings("", "REDIS_URL=redis://"+strings.Join(cluster.Addrs(), ","), "REDIS_MODE=cluster")
	servers := []*rig.Process{rig.Serve(t, env), rig.Serve(t, env)}
	dumpAll := func() (all string) {
		for _, node := range cluster.Nodes {
			dump, _ := dumpKeys(t, node.Addr, "")
			all += dump
		}
		return all
	}
	witness := newRedactedLife(99999)
	deliverAll(t, servers, [][]rig.Event{witness.before()})
	wantPresent(t, dumpAll(), witness)
	deliverAll(t, servers, [][]rig.Event{witness.after()})

	people, sequences := []redactedLife{witness}, [][]rig.Event{}
	for n := range 200 {
		person := newRedactedLife(n)
		people = append(people, person)
		for _, e := range person.events {
			sequences = append(sequences, []rig.Event{e})
		}
	}
	// Events of the same few people are on their way at the same time.
	rng := newRand(t)
	for at := 0; at < len(sequences); at += 24 {
		some := sequences[at:min(at+24, len(sequences))]
		rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	}
	deliverAll(t, servers, sequences)
	wantErased(t, dumpAll(), people)
	for _, person := range people {
		wantRedacted(t, rig.ClientOf(t, servers[0]), person.id)
	}
}

// TestG11_LearnedByARead: no webhook reports the redaction, but a read of Stripe's API does.
func TestG11_LearnedByARead(t *testing.T) {
	redis, stripe := redistest.Start(t), rig.StartFakeStripe(t)
	env := stripe.Settings(redis.Addr)
	server := rig.Serve(t, env)
	stripe.SendTo(server)
	const reference = "PersonOf00000Erased"
	id := stripe.NewSession(reference)
	stripe.SubmitAndFinish(id, "document_expired")
	session, _ := stripe.Session(id)
	person := redactedLife{id: id, markers: []string{reference, session.LastErrorReason, strings.TrimPrefix(session.LastVerificationReport, "vr_"), "NoMetadata"}}
	dump, _ := dumpKeys(t, redis.Addr, "")
	wantPresent(t, dump, person)

	if err := stripe.SetEndpoints(); err != nil { // nobody tells from now on
		t.Fatal(err)
	}
	stripe.Do(stripe.Redact, id)
	stripe.Do(stripe.FinishRedaction, id)
	reading := rig.Launch(t, env, "reconcile", "--session", id)
	if code := reading.Exit(rig.Soon); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	wantRedacted(t, rig.ClientOf(t, server), id)
	dump, _ = dumpKeys(t, redis.Addr, "")
	wantErased(t, dump, []redactedLife{person})
}
