package rpc

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// byHeader takes the caller's name and rights from headers.
func byHeader(c *Config) {
	value := func(ctx context.Context, key string) string {
		if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	c.Principal = func(ctx context.Context) string { return value(ctx, "caller") }
	c.MayOverride = func(ctx context.Context) bool { return value(ctx, "override") != "" }
}

// as returns the replica as a caller sees it. The headers come in pairs.
func (r *replica) as(headers ...string) *replica {
	caller := *r
	caller.headers = headers
	return &caller
}

// TestG14_AConsumerIsItsCreators: no other caller may use or delete it, unless it may override.
func TestG14_AConsumerIsItsCreators(t *testing.T) {
	b := newBackend(t)
	r := b.replica(t, byHeader)
	ann, eve := r.as("caller", "ann"), r.as("caller", "eve")
	w := ann.consume(byConsumer(mailer))
	denied := func(what string, err error) {
		t.Helper()
		t.Log(what)
		wantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)
	}
	denied("a stream", eve.watch(byConsumer(mailer)).ended())
	denied("an acknowledgement", eve.acknowledge(mailer, w.token))
	denied("a deletion", eve.deleteConsumer(mailer))
	ann.mustAcknowledge(mailer, w.token)
	if got := eve.consumers()[mailer]; got.GetPrincipal() != "ann" {
		t.Errorf("the list names %q, want ann", got.GetPrincipal())
	}
	w.stop()
	if err := r.as("caller", "operator", "override", "yes").deleteConsumer(mailer); err != nil {
		t.Errorf("deletion by a caller that may override: %v", err)
	}
	own := eve.consume(byConsumer(mailer)) // the name is free
	own.stop()
	if err := eve.deleteConsumer(mailer); err != nil {
		t.Errorf("deletion by its creator: %v", err)
	}
	if err := eve.deleteConsumer(mailer); err != nil {
		t.Errorf("deletion of a consumer that does not exist: %v", err)
	}
	if got := eve.consumers(); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
}

// TestG14_AConsumerThatMustExistIsNotCreated: neither by must_exist nor by a token, which shows that there was one.
func TestG14_AConsumerThatMustExistIsNotCreated(t *testing.T) {
	r := newBackend(t).replica(t)
	w := r.consume(byConsumer(mailer))
	token := w.token
	w.stop()
	if err := r.deleteConsumer(mailer); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"must_exist":         r.watch(byConsumer(mailer, mustExist)).ended(),
		"a token":            r.watch(resumed(byConsumer(mailer), token)).ended(),
		"an acknowledgement": r.acknowledge(mailer, token),
	} {
		t.Log(name)
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	}
	if got := r.consumers(); len(got) != 0 {
		t.Errorf("created: %v", got)
	}
}

// TestG14_OnlyItsOwnTokensMoveAConsumer.
func TestG14_OnlyItsOwnTokensMoveAConsumer(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	tokens := map[string]string{"empty": "", "garbled": "garbled"}
	for name, request := range map[string]*verificationv1.WatchStatusRequest{
		"session": bySession("vs_1", 0), "reference": byReference("person"), "all": allSessions(), "another consumer": byConsumer("other"), "deleted": byConsumer(mailer),
	} {
		w := r.watch(request)
		w.next()
		tokens[name] = w.token
		w.stop()
	}
	if err := r.deleteConsumer(mailer); err != nil {
		t.Fatal(err)
	}
	w := r.consume(byConsumer(mailer))
	own := w.token
	const unknown = verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND
	wantError(t, r.acknowledge(mailer, tokens["deleted"]), codes.NotFound, unknown)
	wantError(t, r.watch(resumed(byConsumer(mailer), tokens["deleted"])).ended(), codes.NotFound, unknown) // not CONSUMER_BUSY
	w.stop()
	wantError(t, r.watch(resumed(byConsumer(mailer), tokens["deleted"])).ended(), codes.NotFound, unknown)
	delete(tokens, "deleted")
	tokens["cut"], tokens["one character more"] = own[:len(own)-1], own+"A"
	tokens["flipped"] = flip(own, len(own)/2)
	tokens["fewer partitions"] = resumetoken.EncodeConsumer(mailer, 1, make([]resumetoken.Position, 3))
	for name, token := range tokens {
		t.Log(name)
		wantInvalidToken(t, r.acknowledge(mailer, token))
		if token != "" {
			wantInvalidToken(t, r.eventually(resumed(byConsumer(mailer), token)))
		}
	}
	wantInvalidToken(t, r.watch(resumed(allSessions(), own)).ended())
	if got := r.consumers()[mailer]; got.GetAcknowledgeTime() != nil {
		t.Errorf("acknowledged: %v", got)
	}
	r.mustAcknowledge(mailer, own)
}

// eventually opens a stream and returns its end, when no other stream has the consumer any more.
func (r *replica) eventually(request *verificationv1.WatchStatusRequest) (end error) {
	eventually(r.t, "the consumer is free", func() bool {
		end = r.watch(request).ended()
		return detailsOf(r.t, end).info.GetReason() != verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY.String()
	})
	return end
}

// TestG14_AnExpiredConsumerIsTold: it does not begin where changes are gone. A stream with a position of its own continues, and
// its acknowledgement heals the consumer.
func TestG14_AnExpiredConsumerIsTold(t *testing.T) {
	t.Parallel()
	b := newBackendAt(redistest.Start(t).Addr, "")
	b.feed = 5
	r := b.replica(t)
	w := r.consume(byConsumer(mailer))
	for n := int64(1); n <= 400; n++ {
		r.apply(eventOf(int(n), n, object("vs_1", "requires_input", failure("document_expired", int(n)))))
		w.next()
	}
	w.stop()
	wantError(t, r.eventually(byConsumer(mailer)), codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED)
	if got := r.consumers()[mailer]; !got.GetExpired() || got.GetActive() {
		t.Errorf("an expired consumer is listed as %v", got)
	}
	own := r.eventuallyConsumes(resumed(byConsumer(mailer), w.token))
	r.apply(eventOf(401, 401, object("vs_1", "verified")))
	own.wantNext("vs_1", 401, "verified")
	r.mustAcknowledge(mailer, own.token)
	if got := r.consumers()[mailer]; got.GetExpired() || got.GetPendingChanges() != 0 || got.GetAcknowledgeTime() == nil {
		t.Errorf("a consumer that acknowledged everything is listed as %v", got)
	}
	own.stop()
	r.eventuallyConsumes(byConsumer(mailer, mustExist))
}

// TestG14_AfterAFlushTheConsumerIsGone, and its token moves no other one.
func TestG14_AfterAFlushTheConsumerIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBackendAt(server.Addr, "")
	b.lease = shortLease
	r := b.replica(t)
	w := r.consume(byConsumer(mailer))
	r.apply(eventOf(1, 1, object("vs_1", "verified")))
	w.wantNext("vs_1", 1, "verified")
	flushAll(t, server.Addr)
	switch d := detailsOf(t, w.ended()); d.info.GetReason() {
	case "ERROR_REASON_CONSUMER_NOT_FOUND", "ERROR_REASON_RESUME_TOKEN_EXPIRED": // by the lease, or by the feed
	default:
		t.Errorf("the stream ended with %v", d)
	}
	for name, err := range map[string]error{
		"must_exist": r.watch(byConsumer(mailer, mustExist)).ended(), "acknowledge": r.acknowledge(mailer, w.token),
	} {
		t.Log(name)
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	}
	r.consume(byConsumer(mailer))
	wantError(t, r.acknowledge(mailer, w.token), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
}

func TestG14_ThereAreAtMost64Consumers(t *testing.T) {
	r := newBackend(t).replica(t)
	positions := make([]store.Position, r.store.Partitions())
	for partition := range positions {
		head, err := r.store.Head(t.Context(), partition)
		if err != nil {
			t.Fatal(err)
		}
		positions[partition] = head
	}
	for n := range store.MaxConsumers {
		fresh := store.Consumer{Name: fmt.Sprint("consumer-", n), Positions: positions}
		if _, created, err := r.stored.CreateConsumer(t.Context(), fresh, 0); err != nil || !created {
			t.Fatalf("consumer %d: created %v, %v", n, created, err)
		}
	}
	wantError(t, r.watch(byConsumer(mailer)).ended(), codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS)
	if err := r.deleteConsumer("consumer-0"); err != nil {
		t.Fatal(err)
	}
	r.consume(byConsumer(mailer))
	if got := r.consumers(); len(got) != store.MaxConsumers {
		t.Errorf("%d consumers are listed", len(got))
	}
}

// TestFeedCallsWithoutTheStore: the error says to try again.
func TestFeedCallsWithoutTheStore(t *testing.T) {
	server := redistest.Imitate(t)
	r := newBackendAt(server.Addr(), "").replica(t)
	w := r.consume(byConsumer(mailer))
	token := w.token
	w.stop()
	server.SetError("LOADING Redis is loading the dataset in memory")
	defer server.SetError("")
	_, listed := r.feed.ListConsumers(t.Context(), &verificationv1.ListConsumersRequest{})
	for name, err := range map[string]error{
		"a stream": r.watch(byConsumer(mailer)).ended(), "acknowledge": r.acknowledge(mailer, token), "list": listed, "delete": r.deleteConsumer(mailer),
	} {
		t.Log(name)
		if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE); d.retry == nil {
			t.Errorf("%s: no RetryInfo", name)
		}
	}
}

// TestAConsumerThatCannotBeReadIsDeleted: it takes up its name and a slot until then. Its owner may delete it, and if the owner cannot be
// read only a caller that may override.
func TestAConsumerThatCannotBeReadIsDeleted(t *testing.T) {
	server := redistest.Imitate(t)
	b := newBackendAt(server.Addr(), "")
	r := b.replica(t, byHeader).as("caller", "ann")
	eve, operator := r.as("caller", "eve"), r.as("caller", "operator", "override", "yes")
	for attribute, wrong := range map[string]string{"positions": "2:0/0/0", "incarnation": "x", "acknowledged": "soon"} {
		r.consume(byConsumer(mailer)).stop()
		if server.HGet("vs:consumers", "incarnation:"+mailer) == "" {
			t.Fatal("vs:consumers does not hold the consumer")
		}
		server.HSet("vs:consumers", attribute+":"+mailer, wrong)
		if err := r.watch(byConsumer(mailer)).ended(); err == nil {
			t.Errorf("%s: a stream ends without an error", attribute)
		}
		denied := verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED
		wantError(t, eve.deleteConsumer(mailer), codes.PermissionDenied, denied)
		if err := r.deleteConsumer(mailer); err != nil {
			t.Errorf("%s: DeleteConsumer: %v", attribute, err)
		}
		r.consume(byConsumer(mailer)).stop()
		server.HSet("vs:consumers", attribute+":"+mailer, wrong)
		server.HDel("vs:consumers", "owner:"+mailer)
		wantError(t, eve.deleteConsumer(mailer), codes.PermissionDenied, denied)
		if err := operator.deleteConsumer(mailer); err != nil {
			t.Errorf("%s, without an owner: DeleteConsumer: %v", attribute, err)
		}
	}
	r.consume(byConsumer(mailer)).stop()
}
