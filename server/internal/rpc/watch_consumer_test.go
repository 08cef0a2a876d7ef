package rpc

import (
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestG14_AConsumerContinuesAfterWhatItAcknowledged, on any replica, without a token.
func TestG14_AConsumerContinuesAfterWhatItAcknowledged(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_0", "verified"))) // before the consumer: never sent
	w := one.consume(byConsumer(mailer))
	var tokens []string
	for n := 1; n <= 4; n++ {
		two.apply(eventOf(n, int64(n), object("vs_1", "requires_input", failure("document_expired", n))))
		w.wantNext("vs_1", int32(n), "requires_input")
		tokens = append(tokens, w.token)
	}
	two.mustAcknowledge(mailer, tokens[1])
	w.stop()

	again := two.eventuallyConsumes(byConsumer(mailer, mustExist))
	again.wantNext("vs_1", 3, "requires_input")
	again.wantNext("vs_1", 4, "requires_input")
	one.mustAcknowledge(mailer, tokens[3])
	one.mustAcknowledge(mailer, tokens[0]) // an older one changes nothing
	again.stop()

	third := one.eventuallyConsumes(byConsumer(mailer, mustExist))
	one.apply(eventOf(5, 5, object("vs_1", "verified")))
	third.wantNext("vs_1", 5, "verified")
	third.stop()

	// With a token it begins there, also before what was acknowledged.
	fourth := two.eventuallyConsumes(resumed(byConsumer(mailer), tokens[2]))
	fourth.wantNext("vs_1", 4, "requires_input")
	fourth.wantNext("vs_1", 5, "verified")
}

// TestG14_ASecondStreamStandsBy until the first one ends.
func TestG14_ASecondStreamStandsBy(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	w := one.consume(byConsumer(mailer))
	for _, r := range []*replica{one, two} {
		wantBusy(t, r.watch(byConsumer(mailer)).ended())
		wantBusy(t, r.watch(resumed(byConsumer(mailer), w.token)).ended())
	}
	other := two.consume(byConsumer("billing"))
	if got := two.consumers(); len(got) != 2 || !got[mailer].GetActive() || !got["billing"].GetActive() || got[mailer].GetAcknowledgeTime() != nil {
		t.Errorf("two streams are open: %v", got)
	}
	w.stop()
	two.eventuallyConsumes(byConsumer(mailer, mustExist))
	two.apply(eventOf(1, 1, object("vs_1", "verified")))
	other.wantNext("vs_1", 1, "verified")
}

// TestG14_ADrainingServerGivesItsConsumersBack: another replica can serve them at once.
func TestG14_ADrainingServerGivesItsConsumersBack(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	w := one.consume(byConsumer(mailer))
	one.service.Drain()
	wantError(t, w.ended(), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	wantError(t, one.watch(byConsumer(mailer)).ended(), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	two.consume(byConsumer(mailer, mustExist))
}
