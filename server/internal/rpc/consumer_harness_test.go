package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const mailer = "mailer"

// shortLease is a lease that a test can wait for.
const shortLease = 300 * time.Millisecond

// byConsumer requests a stream of a consumer.
func byConsumer(name string, change ...func(*verificationv1.AllSessions)) *verificationv1.WatchStatusRequest {
	all := &verificationv1.AllSessions{Consumer: name}
	for _, c := range change {
		c(all)
	}
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: all}}
}

func mustExist(all *verificationv1.AllSessions) { all.MustExist = true }

func outcomesOnly(all *verificationv1.AllSessions) { all.OutcomesOnly = true }

// withStatuses selects changes after which the status is one of these.
func withStatuses(statuses ...verificationv1.Status) func(*verificationv1.AllSessions) {
	return func(all *verificationv1.AllSessions) { all.Statuses = statuses }
}

// consume opens a stream of a consumer, takes its bookmark, and fails the test unless that names the consumer.
func (r *replica) consume(request *verificationv1.WatchStatusRequest) *watched {
	r.t.Helper()
	w := r.watch(request)
	got, err := w.receive()
	if err != nil {
		r.t.Fatal(err)
	}
	if name := request.GetAllSessions().GetConsumer(); got.GetVerification() != nil || got.GetConsumer() != name || got.GetResumeToken() == "" {
		r.t.Fatalf("the first response is %v; want a bookmark that names %s", got, name)
	}
	w.token = got.GetResumeToken()
	return w
}

// eventuallyConsumes opens a stream of a consumer that another stream might still have.
func (r *replica) eventuallyConsumes(request *verificationv1.WatchStatusRequest) *watched {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		w := r.watch(proto.CloneOf(request))
		got, err := w.receive()
		if err == nil {
			w.token = got.GetResumeToken()
			return w
		}
		busy := w.ended()
		wantBusy(r.t, busy)
		if time.Now().After(deadline) {
			r.t.Fatalf("still busy after %v: %v", patience, busy)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func wantBusy(t *testing.T, err error) {
	t.Helper()
	d := wantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY)
	if after := d.retry.GetRetryDelay().AsDuration(); after <= 0 || after > 15*time.Second {
		t.Errorf("RetryInfo of %v, want more than 0 and at most 15s", after)
	}
}

func (r *replica) acknowledge(name, token string) error {
	_, err := r.feed.AcknowledgeChanges(r.context(), &verificationv1.AcknowledgeChangesRequest{Consumer: name, ResumeToken: token})
	return err
}

func (r *replica) mustAcknowledge(name, token string) {
	r.t.Helper()
	if err := r.acknowledge(name, token); err != nil {
		r.t.Fatalf("acknowledging for %s: %v", name, err)
	}
}

func (r *replica) deleteConsumer(name string) error {
	_, err := r.feed.DeleteConsumer(r.context(), &verificationv1.DeleteConsumerRequest{Consumer: name})
	return err
}

// consumers lists the consumers by name.
func (r *replica) consumers() map[string]*verificationv1.Consumer {
	r.t.Helper()
	response, err := r.feed.ListConsumers(r.context(), &verificationv1.ListConsumersRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	byName := map[string]*verificationv1.Consumer{}
	for _, c := range response.GetConsumers() {
		byName[c.GetName()] = c
	}
	return byName
}
