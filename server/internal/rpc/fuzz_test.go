package rpc

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// hostileLimit is the deadline of each call: min_revision waits for what never comes, streams last.
const hostileLimit = 20 * time.Millisecond

// FuzzRequests: whatever bytes are a request of any method, the real service over a real store
// answers it, within the deadline, with no fault of its own and nothing greater than it may be.
func FuzzRequests(f *testing.F) {
	service := hostileService(f)
	known := bySession("vs_1", 0)
	at := resumetoken.Session{ID: "vs_1", Revision: 1, Fingerprint: 7}
	for _, seed := range []struct {
		method  byte
		request proto.Message
	}{
		{0, &verificationv1.GetStatusRequest{}},
		{0, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, IncludeHistory: true}},
		{0, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, MinRevision: 1 << 30}},
		{0, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_0"}, MinRevision: -1}},
		{0, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person"}}},
		{0, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: strings.Repeat("r", 256)}}},
		{1, known},
		{1, resumed(known, resumetoken.EncodeSession(at))},
		{1, resumed(byReference("person"), resumetoken.EncodeReference("person", at))},
		{1, resumed(allSessions(), resumetoken.EncodeFeed(make([]resumetoken.Position, 16)))},
		{1, &verificationv1.WatchStatusRequest{Subject: known.Subject, Heartbeat: &durationpb.Duration{Seconds: -1 << 62, Nanos: 1 << 30}}},
		{1, &verificationv1.WatchStatusRequest{Subject: allSessions().Subject, UntilSettled: true}},
		{1, byConsumer(mailer)},
		{1, byConsumer("reader", mustExist, outcomesOnly, withStatuses(-1, 0, 3, 3, 99))},
		{1, byConsumer("reader\x00")},
		{1, resumed(byConsumer(mailer), resumetoken.EncodeConsumer(mailer, 1, make([]resumetoken.Position, 16)))},
		{3, &verificationv1.AcknowledgeChangesRequest{Consumer: mailer, ResumeToken: resumetoken.EncodeConsumer(mailer, 1, make([]resumetoken.Position, 16))}},
		{3, &verificationv1.AcknowledgeChangesRequest{Consumer: strings.Repeat("c", 65), ResumeToken: resumetoken.EncodeFeed(make([]resumetoken.Position, 16))}},
		{4, &verificationv1.DeleteConsumerRequest{Consumer: mailer}},
		{5, &verificationv1.ListConsumersRequest{}},
		{2, &verificationv1.RetryVerificationRequest{SessionId: "vs_1"}},
		{2, &verificationv1.RetryVerificationRequest{SessionId: "vs_2", ReplaceClosed: true, ReturnUrl: "https://example.com/done"}},
		{2, &verificationv1.RetryVerificationRequest{SessionId: "vs_2", ReplaceClosed: true, ReturnUrl: "javascript:alert(1)"}},
	} {
		wire, err := proto.Marshal(seed.request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed.method, wire)
	}
	f.Fuzz(func(t *testing.T, method byte, wire []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), hostileLimit)
		defer cancel()
		var err error
		switch method % 6 {
		case 0:
			request := &verificationv1.GetStatusRequest{}
			if proto.Unmarshal(wire, request) != nil {
				return // gRPC refuses it before the service sees it
			}
			var response *verificationv1.GetStatusResponse
			response, err = service.GetStatus(ctx, request)
			checkSize(t, response, err)
		case 1:
			request := &verificationv1.WatchStatusRequest{}
			if proto.Unmarshal(wire, request) != nil {
				return
			}
			err = service.WatchStatus(request, &hostileStream{ctx: ctx, t: t})
		case 2:
			request := &verificationv1.RetryVerificationRequest{}
			if proto.Unmarshal(wire, request) != nil {
				return
			}
			var response *verificationv1.RetryVerificationResponse
			response, err = service.RetryVerification(ctx, request)
			checkSize(t, response, err)
		case 3:
			request := &verificationv1.AcknowledgeChangesRequest{}
			if proto.Unmarshal(wire, request) != nil {
				return
			}
			_, err = service.AcknowledgeChanges(ctx, request)
		case 4:
			request := &verificationv1.DeleteConsumerRequest{}
			if proto.Unmarshal(wire, request) != nil {
				return
			}
			_, err = service.DeleteConsumer(ctx, request)
		case 5:
			var response *verificationv1.ListConsumersResponse
			response, err = service.ListConsumers(ctx, &verificationv1.ListConsumersRequest{})
			checkSize(t, response, err)
		}
		s := status.Convert(err)
		switch s.Code() {
		case codes.Internal, codes.Unknown, codes.DataLoss, codes.Unimplemented:
			t.Fatalf("a fault of the service: %v", err)
		}
		if len(s.Message()) > 1000 || !utf8.ValidString(s.Message()) {
			t.Fatalf("a message of %d bytes: %q", len(s.Message()), s.Message())
		}
	})
}

// checkSize: an answer can be encoded, and its size is bounded by what a session may hold.
func checkSize(t *testing.T, response proto.Message, err error) {
	t.Helper()
	if err != nil {
		return
	}
	wire, err := proto.Marshal(response)
	if err != nil || len(wire) > 64<<10 {
		t.Fatalf("an answer of %d bytes, %v", len(wire), err)
	}
}

// hostileService is the service with two sessions: one that may be retried and one that is closed.
func hostileService(f *testing.F) *Service {
	f.Helper()
	redis := redistest.Imitate(f)
	logger := slog.New(slog.DiscardHandler)
	opened, err := redisstore.Open(redisstore.Options{Addrs: []string{redis.Addr()}, Logger: logger})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = opened.Close() })
	stripe := newFakeStripe(object("vs_1", "requires_input", failure("document_expired", 1), reference("person")), object("vs_2", "canceled"))
	into := ingest.New(ingest.Config{Store: opened, Stripe: stripe, Clock: time.Now, Logger: logger})
	f.Cleanup(into.Close)
	for n, id := range []string{"vs_1", "vs_2"} {
		if _, err := into.Apply(context.Background(), eventOf(n, 1, stripe.sessions[id])); err != nil {
			f.Fatal(err)
		}
	}
	return New(Config{
		Live: uncached{opened, hub.New(), 0}, Ingest: into, Stripe: stripe, Clock: time.Now, Logger: logger,
		Consumers: consumers.New(consumers.Config{Store: opened, Logger: logger}),
		Policy:    verification.RetryPolicy{MaxRetries: 2, DenyCodes: verification.DefaultDenyCodes()},
	})
}

// hostileStream is the server's end of a stream whose caller leaves at the deadline.
type hostileStream struct {
	grpc.ServerStream
	ctx  context.Context
	t    *testing.T
	sent int
}

func (s *hostileStream) Context() context.Context { return s.ctx }

func (s *hostileStream) Send(response *verificationv1.WatchStatusResponse) error {
	checkSize(s.t, response, nil)
	if len(response.GetResumeToken()) > resumetoken.MaxLength {
		s.t.Errorf("a token of %d characters", len(response.GetResumeToken()))
	}
	// Two sessions have few changes; a retry makes one more at the most.
	if s.sent++; s.sent > 20 {
		s.t.Error("the stream repeats itself")
	}
	return s.ctx.Err()
}
