package deploy

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
)

// walkRedisFull: maxmemory is reached, and the policy is noeviction. Known sessions are answered and nothing is lost.
func walkRedisFull(t *testing.T) {
	w := walkThrough(t, "VerificationRedisMemory")
	known := w.stripe.Sessions()[0].ID
	w.began = time.Now()
	w.fault("CONFIG", "SET", "maxmemory", strconv.Itoa(w.usedMemory()-200_000))
	w.awaitAlert("VerificationWebhooksFailing", "firing")
	w.awaitAlert(w.entry, "firing")
	w.askReadiness(http.StatusOK)
	if code := w.get(w.clients[0], known); code != codes.OK {
		t.Errorf("the status of a known session: %v", code)
	}
	created, err := w.stripe.Create(stripesim.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if code := w.get(w.clients[0], created.ID); code != codes.Unavailable {
		t.Errorf("the status of a session that was created since: %v", code)
	}
	if code := w.retry(w.clients[0], known); code != codes.Unavailable {
		t.Errorf("a retry while Redis is full: %v", code)
	}
	w.follow("Look at", 0, "")
	w.follow("Do", 0, "")
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	w.awaitAlert(w.entry, "inactive")
	w.awaitAlert("VerificationWebhooksFailing", "inactive")
	w.follow("Over when", 0, "")
	w.nothingLost()
}

// walkEviction: a policy that deletes keys is set while the server runs. Every session that was deleted comes back.
func walkEviction(t *testing.T) {
	w := walkThrough(t, "VerificationRedisEvicting")
	w.consume("ledger")
	w.began = time.Now()
	known := w.recorded(w.ids())
	w.fault("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	w.fault("CONFIG", "SET", "maxmemory", strconv.Itoa(w.usedMemory()-30_000))
	// What Redis chooses is chance, and can be lists alone. So these keys are deleted in any case.
	w.fault("DEL", "vs:consumers")
	for _, id := range known[:3] {
		w.fault("EVAL", "return redis.call('DEL', redis.call('KEYS', 'vs:*:s:' .. ARGV[1])[1] or 'none')", "0", id)
	}
	w.awaitAlert("VerificationRedisMisconfigured", "firing")
	w.awaitAlert(w.entry, "firing")
	w.askReadiness(http.StatusServiceUnavailable)
	left := w.recorded(known)
	w.record("of %d sessions %d are left in Redis", len(known), len(left))
	w.follow("Look at", 0, "")
	w.follow("Do", 0, "")
	w.askReadiness(http.StatusOK)
	w.awaitAlert("VerificationConsumerMissing", "firing")
	w.awaitAlert("VerificationRedisMisconfigured", "inactive")
	w.follow("Do", 1, "")
	// Before anybody asks for them: an answer to GetStatus would bring them back too.
	if back := w.recorded(known); len(back) < len(known) {
		t.Errorf("%d of %d sessions are in Redis after the commands", len(back), len(known))
	}
	w.awaitAlert(w.entry, "inactive")
	w.follow("Over when", 0, "")
	w.consumersAreGone()
	w.nothingLost()
	if listed, all := w.listed(), len(w.stripe.Sessions()); listed != all {
		t.Errorf("%d of %d sessions are in the list", listed, all)
	}
}

// consume creates a named consumer and reads its stream until the test ends. It resumes a stream that ends earlier until the consumer is not
// found, as client.Consume does.
func (w *walk) consume(name string) {
	w.t.Helper()
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{Consumer: name}}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pause := time.NewTicker(200 * time.Millisecond)
		defer pause.Stop()
		for w.t.Context().Err() == nil {
			stream, err := w.clients[0].WatchStatus(w.t.Context(), request)
			for err == nil {
				var response *verificationv1.WatchStatusResponse
				if response, err = stream.Recv(); err == nil {
					request.ResumeToken = response.GetResumeToken()
				}
			}
			if status.Code(err) == codes.NotFound {
				return
			}
			<-pause.C
		}
	}()
	w.t.Cleanup(func() { <-ended })
	w.awaitPanel("Consumers with a stream", func(v float64) bool { return v == 1 })
}

// consumersAreGone: the service has no consumer any more. The alerts that name a consumer cannot say so.
func (w *walk) consumersAreGone() {
	w.t.Helper()
	list, err := verificationv1.NewFeedServiceClient(w.connect(w.replicas["verification-status-0"], "backend")).ListConsumers(w.t.Context(), &verificationv1.ListConsumersRequest{})
	if err != nil || len(list.GetConsumers()) > 0 {
		w.t.Errorf("consumers after the eviction: %v %v; want none", list, err)
	}
	for _, alert := range []string{"VerificationConsumerLate", "VerificationConsumerInactive", "VerificationConsumerExpired"} {
		if state := w.prometheus.state(alert); state != "inactive" {
			w.t.Errorf("%s is %s: its series have ended", alert, state)
		}
	}
}

// ids returns the sessions that Stripe has.
func (w *walk) ids() (ids []string) {
	for _, session := range w.stripe.Sessions() {
		ids = append(ids, session.ID)
	}
	return ids
}

// recorded returns those of the sessions that have a record in Redis.
func (w *walk) recorded(ids []string) (found []string) {
	w.t.Helper()
	for _, id := range ids {
		if w.redis.MustAsk("EVAL", "return #redis.call('KEYS', 'vs:*:s:' .. ARGV[1])", "0", id) == "1" {
			found = append(found, id)
		}
	}
	return found
}

// listed returns how many sessions ListVerifications has.
func (w *walk) listed() (n int) {
	w.t.Helper()
	request := &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Status{Status: verificationv1.Status_STATUS_REQUIRES_INPUT}, PageSize: 100}
	for {
		page, err := w.clients[0].ListVerifications(w.t.Context(), request)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(page.GetVerifications())
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return n
		}
	}
}
