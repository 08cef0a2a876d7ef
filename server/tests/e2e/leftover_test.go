package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

func ofReference(reference string) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: reference}}
}

// TestG11_ALeftoverInTheIndexIsNotBelieved adds entries to the index of references that a crash between two slots, or a
// failover, could leave there: of a redacted session, of a session with another reference, and of a session without a
// record.
func TestG11_ALeftoverInTheIndexIsNotBelieved(t *testing.T) {
	stripe, cluster := rig.StartFakeStripe(t), redistest.StartCluster(t, 3, 0)
	server := rig.Serve(t, stripe.Settings("", "REDIS_URL=redis://"+strings.Join(cluster.Addrs(), ","), "REDIS_MODE=cluster"))
	stripe.SendTo(server)
	client := rig.ClientOf(t, server)
	mine := stripe.NewSession("person-1")
	raw := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer raw.Close()
	var key string
	for _, node := range cluster.Nodes {
		one := redis.NewClient(&redis.Options{Addr: node.Addr})
		for _, found := range one.Keys(t.Context(), "vs:ref:*").Val() {
			key = found
		}
		one.Close()
	}
	if members := raw.ZRange(t.Context(), key, 0, -1).Val(); len(members) != 1 || members[0] != mine {
		t.Fatalf("%s holds %v; want %s alone", key, members, mine)
	}
	score := raw.ZScore(t.Context(), key, mine).Val()

	erased, ofOther := stripe.NewSession("person-1"), stripe.NewSession("person-2")
	stripe.Do(stripe.Redact, erased)
	leftovers := []string{erased, ofOther, "vs_Gone"}
	addLeftovers := func() {
		t.Helper()
		for n, id := range leftovers {
			if err := raw.ZAdd(t.Context(), key, redis.Z{Score: score + float64(1000+n), Member: id}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(after string) {
		t.Helper()
		members := strings.Join(raw.ZRange(t.Context(), key, 0, -1).Val(), " ")
		for _, id := range leftovers {
			if strings.Contains(members, id) {
				t.Errorf("after %s the index still leads to %s: %s", after, id, members)
			}
		}
	}

	addLeftovers()
	response, err := client.GetStatus(rig.Within(t, rig.Soon), ofReference("person-1"))
	if got := response.GetVerification().GetSessionId(); err != nil || got != mine {
		t.Errorf("GetStatus shows %q, %v; want %s", got, err, mine)
	}
	gone("GetStatus")

	addLeftovers()
	stream, err := client.WatchStatus(rig.Within(t, rig.Soon), &verificationv1.WatchStatusRequest{
		Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: "person-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetVerification().GetSessionId() != mine {
		t.Fatalf("WatchStatus shows %v, %v; want %s", first.GetVerification(), err, mine)
	}
	gone("the first look of a watch")

	addLeftovers()
	bearers := []string{mine, stripe.NewSession("person-1")} // the reference may lead elsewhere now: the watch looks
	rig.Await(t, "the open watch has looked", func() bool { return raw.ZCard(t.Context(), key).Val() == int64(len(bearers)) })
	gone("a look of an open watch")
	mine = raw.ZRevRange(t.Context(), key, 0, 0).Val()[0]
	stripe.SubmitAndFinish(mine, "verified")
	for first.GetVerification().GetStatus() != verificationv1.Status_STATUS_VERIFIED {
		if first, err = stream.Recv(); err != nil || !slices.Contains(bearers, first.GetVerification().GetSessionId()) {
			t.Fatalf("the open watch shows %v, %v; want one of %v", first.GetVerification(), err, bearers)
		}
	}
	if got := first.GetVerification().GetSessionId(); got != mine {
		t.Errorf("the open watch ends with %s; want %s", got, mine)
	}

	addLeftovers()
	again, err := client.WatchStatus(rig.Within(t, rig.Soon), &verificationv1.WatchStatusRequest{
		Subject:     &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: "person-1"},
		ResumeToken: first.GetResumeToken(), UntilSettled: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := again.Recv(); err == nil {
		t.Errorf("the resumed watch shows %v; want its end", response.GetVerification())
	}
	gone("a resumed watch")

	// The index has leftovers only: no session has the reference any more.
	for _, id := range bearers {
		stripe.Do(stripe.Redact, id)
		stripe.Do(stripe.FinishRedaction, id)
		leftovers = append(leftovers, id)
	}
	addLeftovers()
	if response, err := client.GetStatus(rig.Within(t, rig.Soon), ofReference("person-1")); status.Code(err) != codes.NotFound {
		t.Errorf("with nothing but leftovers: %v, %v; want NOT_FOUND", response.GetVerification(), err)
	}
	gone("the last look")
}
