package clienttest_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// startFeed is start with the generated client of the FeedService too.
func startFeed(t *testing.T) (*clienttest.Server, verificationv1.VerificationServiceClient, verificationv1.FeedServiceClient) {
	t.Helper()
	server, rpc := start(t)
	conn, err := grpc.NewClient(server.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return server, rpc, verificationv1.NewFeedServiceClient(conn)
}

func consumerWatch(name, token string, change ...func(*verificationv1.AllSessions)) *verificationv1.WatchStatusRequest {
	request := allSessions(token)
	request.GetAllSessions().Consumer = name
	for _, c := range change {
		c(request.GetAllSessions())
	}
	return request
}

func mustExist(all *verificationv1.AllSessions) { all.MustExist = true }

func acknowledge(t *testing.T, feed verificationv1.FeedServiceClient, name, token string) error {
	t.Helper()
	_, err := feed.AcknowledgeChanges(within(t), &verificationv1.AcknowledgeChangesRequest{Consumer: name, ResumeToken: token})
	return err
}

func consumersOf(t *testing.T, feed verificationv1.FeedServiceClient) []*verificationv1.Consumer {
	t.Helper()
	response, err := feed.ListConsumers(within(t), &verificationv1.ListConsumersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetConsumers()
}

func TestAConsumerContinuesAfterWhatWasAcknowledged(t *testing.T) {
	server, rpc, feed := startFeed(t)
	next, _ := watch(t, rpc, consumerWatch("mailer", ""))
	first := next()
	if first.GetConsumer() != "mailer" || first.GetVerification() != nil {
		t.Fatalf("the first response is %v; want a bookmark with the name", first)
	}
	server.Set(of("vs_1", processing))
	server.Set(of("vs_1", verified))
	one, two := next(), next()
	if one.GetConsumer() != "" {
		t.Errorf("a later response names the consumer: %v", one)
	}
	if got := consumersOf(t, feed); len(got) != 1 || got[0].GetPendingChanges() != 2 || !got[0].GetActive() || got[0].GetLag().AsDuration() <= 0 {
		t.Errorf("the consumers are %v; want one, active, with two pending changes and a lag", got)
	}
	if err := acknowledge(t, feed, "mailer", one.GetResumeToken()); err != nil {
		t.Fatal(err)
	}
	server.CutStreams(nil)
	next = reopen(t, rpc, consumerWatch("mailer", "", mustExist))
	next()
	if got := next(); got.GetVerification().GetRevision() != 2 {
		t.Errorf("the next stream begins with %v; want revision 2", got)
	}
	// Positions only rise.
	for _, token := range []string{two.GetResumeToken(), one.GetResumeToken(), first.GetResumeToken()} {
		if err := acknowledge(t, feed, "mailer", token); err != nil {
			t.Fatal(err)
		}
	}
	if got := consumersOf(t, feed)[0]; got.GetPendingChanges() != 0 || got.GetLag().AsDuration() != 0 {
		t.Errorf("after an older token: %v; want nothing pending", got)
	}
	// A token of its own is the beginning of a stream too.
	server.CutStreams(nil)
	next = reopen(t, rpc, consumerWatch("mailer", first.GetResumeToken()))
	next()
	if got := next(); got.GetVerification().GetRevision() != 1 {
		t.Errorf("a stream with a token begins with %v; want revision 1", got)
	}
}

// reopen opens a stream of a consumer. It is busy until the server has noticed the end of the stream before.
func reopen(t *testing.T, rpc verificationv1.VerificationServiceClient, request *verificationv1.WatchStatusRequest) (next func() *verificationv1.WatchStatusResponse) {
	t.Helper()
	ctx := within(t)
	for ctx.Err() == nil {
		stream, err := rpc.WatchStatus(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		if reason(err) == verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY.String() {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		begun := false
		return func() *verificationv1.WatchStatusResponse {
			t.Helper()
			if !begun {
				begun = true
				return first
			}
			response, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return response
		}
	}
	t.Fatal("the consumer stays busy")
	return nil
}

func TestOneStreamOfAConsumerIsServed(t *testing.T) {
	server, rpc, feed := startFeed(t)
	next, end := watch(t, rpc, consumerWatch("mailer", ""))
	next()
	_, busy := watch(t, rpc, consumerWatch("mailer", ""))
	err := busy()
	wantReason(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY)
	if !slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool { _, is := d.(*errdetails.RetryInfo); return is }) {
		t.Errorf("%v has no RetryInfo", err)
	}
	if _, err := feed.DeleteConsumer(within(t), &verificationv1.DeleteConsumerRequest{Consumer: "mailer"}); err != nil {
		t.Fatal(err)
	}
	wantReason(t, end(), codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	if _, err := feed.DeleteConsumer(within(t), &verificationv1.DeleteConsumerRequest{Consumer: "mailer"}); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
	_, end = watch(t, rpc, consumerWatch("mailer", "", mustExist))
	wantReason(t, end(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)

	first(watch(t, rpc, consumerWatch("mailer", "")))()
	server.ExpireConsumer("mailer")
	server.HoldConsumer("mailer", true)
	_, end = watch(t, rpc, consumerWatch("mailer", ""))
	wantReason(t, end(), codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY)
	server.HoldConsumer("mailer", false)
	_, end = watch(t, rpc, consumerWatch("mailer", ""))
	wantReason(t, end(), codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED)
}

func TestTokensOfConsumersAreTheirOwn(t *testing.T) {
	server, rpc, feed := startFeed(t)
	const invalid, unknown = verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND
	mailer, other := first(watch(t, rpc, consumerWatch("mailer", "")))().GetResumeToken(), first(watch(t, rpc, consumerWatch("other", "")))().GetResumeToken()
	feedToken := first(watch(t, rpc, allSessions("")))().GetResumeToken()
	for _, token := range []string{other, feedToken, "x"} {
		wantReason(t, acknowledge(t, feed, "mailer", token), codes.InvalidArgument, invalid)
	}
	wantReason(t, acknowledge(t, feed, "nobody", mailer), codes.NotFound, unknown)
	wantReason(t, acknowledge(t, feed, "No", mailer), codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	_, end := watch(t, rpc, allSessions(mailer))
	wantReason(t, end(), codes.InvalidArgument, invalid)
	_, end = watch(t, rpc, consumerWatch("nobody", mailer))
	wantReason(t, end(), codes.NotFound, unknown)

	server.DeleteConsumer("mailer")
	first(watch(t, rpc, consumerWatch("mailer", "")))()
	wantReason(t, acknowledge(t, feed, "mailer", mailer), codes.NotFound, unknown)
	wantReason(t, acknowledge(t, feed, "mailer", other), codes.InvalidArgument, invalid)
	for _, busy := range []bool{true, false} {
		server.HoldConsumer("mailer", busy)
		_, end = watch(t, rpc, consumerWatch("mailer", mailer))
		wantReason(t, end(), codes.NotFound, unknown)
		_, end = watch(t, rpc, consumerWatch("mailer", other))
		wantReason(t, end(), codes.InvalidArgument, invalid)
	}
	server.ExpireTokens()
	wantReason(t, acknowledge(t, feed, "other", other), codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
}

func TestThereAre64Consumers(t *testing.T) {
	server, rpc, feed := startFeed(t)
	for i := range 64 {
		name := fmt.Sprint("c", i)
		first(watch(t, rpc, consumerWatch(name, "")))()
		server.HoldConsumer(name, false)
	}
	_, end := watch(t, rpc, consumerWatch("more", ""))
	wantReason(t, end(), codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS)
	server.ExpireConsumer("c7")
	first(watch(t, rpc, consumerWatch("more", "")))()
	if got := consumersOf(t, feed); len(got) != 64 || slices.ContainsFunc(got, func(c *verificationv1.Consumer) bool { return c.GetName() == "c7" }) {
		t.Errorf("%d consumers; want 64, without the expired one", len(got))
	}
}

// TestOutcomes: a grant, a redaction and a reference bring no outcome, and an outcome that was redacted before it was told
// comes with the tombstone.
func TestOutcomes(t *testing.T) {
	server, rpc, _ := startFeed(t)
	outcomes := func(all *verificationv1.AllSessions) { all.OutcomesOnly = true }
	open := first(watch(t, rpc, consumerWatch("mailer", "", outcomes)))
	token := open().GetResumeToken()
	v := of("vs_1", requiresInput)
	v.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED}
	v.LastVerificationReport = "vr_1"
	ids := map[string]bool{}
	set := func(want int32) *verificationv1.Verification {
		t.Helper()
		v = server.Set(v)
		if v.GetOutcomeRevision() != want || len(v.GetOutcomeId()) != 22 {
			t.Errorf("revision %d has outcome %d with id %q; want %d with 22 characters", v.GetRevision(), v.GetOutcomeRevision(), v.GetOutcomeId(), want)
		}
		ids[v.GetOutcomeId()] = true
		v.UpdateTime = nil
		return v
	}
	set(1)
	if _, err := rpc.RetryVerification(within(t), &verificationv1.RetryVerificationRequest{SessionId: "vs_1"}); err != nil {
		t.Fatal(err)
	}
	v.ClientReferenceId = "user-42"
	set(1)
	v.LastVerificationReport = "vr_2"
	set(4)
	for _, want := range []int32{1, 4} {
		if got := open().GetVerification(); got.GetRevision() != want || got.GetOutcomeRevision() != want {
			t.Errorf("the stream of outcomes has %v; want revision %d", got, want)
		}
	}
	v.Redaction = verificationv1.Redaction_REDACTION_REDACTED
	set(4)
	if len(ids) != 2 {
		t.Errorf("%d ids for two outcomes", len(ids))
	}
	server.HoldConsumer("mailer", false)
	next, _ := watch(t, rpc, consumerWatch("mailer", token, outcomes))
	next()
	if got := next().GetVerification(); got.GetRevision() != 5 || got.GetOutcomeRevision() != 4 || !ids[got.GetOutcomeId()] {
		t.Errorf("after the redaction: %v; want revision 5 with outcome 4", got)
	}
}

// TestStatusesBeforeARedaction: a watch of one status gets the oldest revision that is left, whatever that brought: an outcome of
// the status might have been erased before it was told.
func TestStatusesBeforeARedaction(t *testing.T) {
	server, rpc, _ := startFeed(t)
	statuses := func(all *verificationv1.AllSessions) {
		all.Statuses = []verificationv1.Status{verificationv1.Status_STATUS_VERIFIED}
	}
	token := first(watch(t, rpc, consumerWatch("mailer", "", statuses)))().GetResumeToken()
	v := server.Set(of("vs_1", verificationv1.Status_STATUS_VERIFIED))
	v.Status, v.UpdateTime, v.Redaction = verificationv1.Status_STATUS_CANCELED, nil, verificationv1.Redaction_REDACTION_REDACTED
	v.StripeStatus = "canceled"
	server.Set(v)
	server.HoldConsumer("mailer", false)
	next, _ := watch(t, rpc, consumerWatch("mailer", token, statuses))
	next()
	if got := next().GetVerification(); got.GetRevision() != 2 || got.GetOutcomeRevision() != 2 || got.GetStatus() != verificationv1.Status_STATUS_CANCELED {
		t.Errorf("after the redaction: %v; want revision 2, canceled", got)
	}
}

func TestFailuresOfTheFeedService(t *testing.T) {
	server, _, feed := startFeed(t)
	server.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_OVERLOADED))
	_, listed := feed.ListConsumers(within(t), &verificationv1.ListConsumersRequest{})
	_, deleted := feed.DeleteConsumer(within(t), &verificationv1.DeleteConsumerRequest{Consumer: "mailer"})
	for _, err := range []error{acknowledge(t, feed, "mailer", "x"), listed, deleted} {
		wantReason(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_OVERLOADED)
	}
	server.Fail(nil)
	if _, err := feed.DeleteConsumer(within(t), &verificationv1.DeleteConsumerRequest{Consumer: "No"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a name that cannot be: %v; want INVALID_ARGUMENT", err)
	}
}
