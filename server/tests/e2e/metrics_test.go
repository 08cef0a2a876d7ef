package e2e

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// scrape returns the values of a server's /metrics by name and labels, as the page writes them.
func scrape(t testing.TB, client *http.Client, p *rig.Process) map[string]float64 {
	t.Helper()
	response, err := client.Get(p.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := rig.ReadAll(response)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for scanner := bufio.NewScanner(strings.NewReader(page)); scanner.Scan(); {
		line := scanner.Text()
		cut := strings.LastIndexByte(line, ' ')
		if value, err := strconv.ParseFloat(line[cut+1:], 64); err == nil && !strings.HasPrefix(line, "#") {
			values[line[:cut]] = value
		}
	}
	return values
}

// TestMetricsTellWhatHappened: a person fails and tries again, is watched and asked for, and each step
// is in the numbers of the server that did it.
func TestMetricsTellWhatHappened(t *testing.T) {
	p := newTwoReplicas(t)
	server, client := p.servers[0], rig.NewHTTPClient(t)
	id := p.stripe.NewSession("person-metrics")
	stream, err := p.clients[0].WatchStatus(t.Context(), rig.WatchSessionRequest(id, ""))
	if err != nil {
		t.Fatal(err)
	}
	revisions, _ := receive(stream)
	wantRevision(t, revisions, 1)
	p.stripe.SubmitAndFinish(id, "document_expired")
	wantRevision(t, revisions, 2)
	wantRevision(t, revisions, 3)
	rig.MustRetry(t, p.clients[0], &verificationv1.RetryVerificationRequest{SessionId: id})
	wantRevision(t, revisions, 4)
	rig.GetStatus(t, p.clients[0], id)
	if _, err := rig.Retry(t, p.clients[0], &verificationv1.RetryVerificationRequest{SessionId: "vs_Nobody"}); err == nil {
		t.Error("a retry of nothing known was granted")
	}
	p.stripe.Do(p.stripe.Cancel, id)
	wantRevision(t, revisions, 5)
	if _, err := rig.Retry(t, p.clients[0], &verificationv1.RetryVerificationRequest{SessionId: id}); err == nil {
		t.Error("a retry of a closed session was granted")
	}

	const method = `grpc_method="verification.v1.VerificationService/`
	var values map[string]float64
	rig.Await(t, "the counts of the last call", func() bool {
		values = scrape(t, client, server)
		return values[`grpc_server_call_duration_seconds_count{`+method+`RetryVerification",grpc_status="FAILED_PRECONDITION"}`] == 1
	})
	for name, want := range map[string]float64{
		`verification_ready`:                                                                 1,
		`verification_webhook_duration_seconds_count`:                                        4,
		`verification_retries_granted_total`:                                                 1,
		`verification_retries_denied_total{reason="RETRY_DENIAL_CANCELED"}`:                  1,
		`verification_read_throughs_total{outcome="unknown"}`:                                1,
		`verification_watch_streams{kind="session"}`:                                         1,
		`verification_watches_opened_total{kind="session",resumed="false"}`:                  1,
		`verification_watch_sent_total{kind="session"}`:                                      5,
		`grpc_server_call_started_total{` + method + `GetStatus"}`:                           1,
		`grpc_server_call_duration_seconds_count{` + method + `GetStatus",grpc_status="OK"}`: 1,
		`verification_feed_rewinds_total`:                                                    0,
	} {
		if got, found := values[name]; !found || got != want {
			t.Errorf("%s is %v (%t), want %v", name, got, found, want)
		}
	}
	// A catch-up at the start can be faster than the webhooks of one or two events.
	var applied, duplicate float64
	for name, value := range values {
		if strings.HasPrefix(name, `verification_webhooks_total{reason="applied",status="200",type="identity.verification_session.`) {
			applied += value
		} else if strings.HasPrefix(name, `verification_webhooks_total{reason="duplicate",`) {
			duplicate += value
		}
	}
	if aged := values["verification_event_age_seconds_count"]; applied < 1 || applied+duplicate != 4 || aged != applied {
		t.Errorf("%v events were applied and %v known, %v have an age; want 4 in all", applied, duplicate, aged)
	}
	// The commits of four events and a grant. A catch-up at the start can have made one of them.
	if got := values[`verification_commit_duration_seconds_count{result="committed"}`]; got < 4 || got > 6 {
		t.Errorf("%v commits", got)
	}
	if got := values["verification_stripe_reads_left"]; got < 1 || got > 4998 {
		t.Errorf("%v reads of 5000 are left after one retry and one unknown session", got)
	}
	if got := values["verification_memory_hits_total"] + values["verification_memory_misses_total"]; got < 1 {
		t.Errorf("%v statuses were looked for in memory", got)
	}
	if got := values["verification_feed_lag_seconds"]; got > rig.Soon.Seconds() {
		t.Errorf("the feed's lag is %v", got)
	}
	stream.CloseSend()
}

// TestFeedLagGrowsWhileRedisHangs: this one metric shows that watchers learn nothing new.
func TestFeedLagGrowsWhileRedisHangs(t *testing.T) {
	t.Parallel()
	p := newTwoReplicas(t)
	client := rig.NewHTTPClient(t)
	lag := func() float64 { return scrape(t, client, p.servers[0])["verification_feed_lag_seconds"] }
	p.redis.Pause()
	rig.Await(t, "a lag of four seconds", func() bool { return lag() > 4 })
	rig.Await(t, "not ready", func() bool { return scrape(t, client, p.servers[0])["verification_ready"] == 0 })
	p.redis.Resume()
	rig.Await(t, "no lag", func() bool { return lag() < 2 })
	rig.Await(t, "ready", func() bool { return scrape(t, client, p.servers[0])["verification_ready"] == 1 })
}
