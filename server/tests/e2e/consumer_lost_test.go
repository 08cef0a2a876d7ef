package e2e

import (
	"testing"

	"google.golang.org/grpc/codes"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG14_AConsumerThatRedisLostIsNotCreatedAgain: Redis restarts without persistence. The program that ran is refused, and so is the next one,
// which requires that the consumer exists. Nobody creates the consumer by accident. Created again, it gets every change from then on.
func TestG14_AConsumerThatRedisLostIsNotCreatedAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr))
	sender, service := rig.NewHTTPClient(t), rig.ClientOf(t, p)
	consumer := newProgram(t, "mailer", p.GRPC)
	consumer.start(false)
	events := rig.Tries("vs_Lost", 3)
	rig.Deliver(t, sender, p.Webhook, events[0])
	if consumer.wantCompleteOrRefused(service, []string{"vs_Lost"}) {
		t.Fatal("the consumer is refused, before anything is lost")
	}
	consumer.awaitAcknowledged()

	redis.Stop()
	redis.Start()
	consumer.wantRefused(client.ErrConsumerNotFound)
	consumer.start(true)
	consumer.wantRefused(client.ErrConsumerNotFound)
	_, _, err := watchAs(rig.Within(t, rig.Soon), service, "mailer", true)
	rig.WantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	if found := consumer.find(); found != nil {
		t.Errorf("the consumer that was lost was created again: %v", found)
	}

	consumer.start(false)
	for _, e := range events[1:] {
		rig.Deliver(t, sender, p.Webhook, e)
	}
	if consumer.wantCompleteOrRefused(service, []string{"vs_Lost"}) {
		t.Error("the consumer that was created again is refused")
	}
}
