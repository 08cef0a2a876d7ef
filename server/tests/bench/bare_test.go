package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	stripewebhook "github.com/stripe/stripe-go/v76/webhook"
	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// bare has the least cost that the contract allows, in a process of its own: constant answers without interceptors,
// webhooks that Stripe's own library verifies and decodes and that nothing stores, and watches woken from memory. The
// server is measured against it, side by side.
type bare struct {
	verificationv1.UnimplementedVerificationServiceServer

	mu       sync.Mutex
	watchers map[string][]chan int32
	revision map[string]int32
}

// runBare serves until the standard input ends, and says where, as the server's log does.
func runBare() int {
	b := &bare{watchers: make(map[string][]chan int32), revision: make(map[string]int32)}
	rpcs, err1 := net.Listen("tcp", "127.0.0.1:0")
	hooks, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err1 != nil || err2 != nil {
		fmt.Fprintln(os.Stderr, err1, err2)
		return 1
	}
	server := grpc.NewServer(grpc.MaxConcurrentStreams(100_000))
	verificationv1.RegisterVerificationServiceServer(server, b)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", b.webhook)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	go func() { _ = http.Serve(hooks, mux) }()
	fmt.Fprintf(os.Stderr, `{"msg":"listening","grpc":%q,"webhook":%q,"admin":%q}`+"\n", rpcs.Addr(), hooks.Addr(), hooks.Addr())
	_ = server.Serve(rpcs)
	return 0
}

var constant = &verificationv1.Verification{
	SessionId: "vs_Bench", Status: verificationv1.Status_STATUS_VERIFIED, Type: verificationv1.VerificationType_VERIFICATION_TYPE_DOCUMENT,
	ClientReferenceId: "person-1", StripeStatus: "verified", StripeType: "document", Revision: 5, Settled: true,
	LastVerificationReport: "vr_1NuN4zLkdIwHu7ixleE6HvkI", Retry: &verificationv1.RetryState{FailedAttempts: 1, RetriesRemaining: 2},
}

func (b *bare) GetStatus(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	return &verificationv1.GetStatusResponse{Verification: constant}, nil
}

func (b *bare) WatchStatus(request *verificationv1.WatchStatusRequest, stream verificationv1.VerificationService_WatchStatusServer) error {
	wake := make(chan int32, 16)
	b.mu.Lock()
	id := request.GetSessionId()
	b.watchers[id] = append(b.watchers[id], wake)
	b.mu.Unlock()
	for revision := int32(0); ; {
		response := &verificationv1.WatchStatusResponse{
			Verification: &verificationv1.Verification{SessionId: id, Revision: revision}, ResumeToken: "token",
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		select {
		case revision = <-wake:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// webhook is the handler of Stripe's documentation: ConstructEvent, then the object by the library's type.
func (b *bare) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256<<10))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	event, err := stripewebhook.ConstructEventWithOptions(body, r.Header.Get("Stripe-Signature"), rig.WebhookSecret,
		stripewebhook.ConstructEventOptions{Tolerance: 5 * time.Minute, IgnoreAPIVersionMismatch: true})
	var session stripego.IdentityVerificationSession
	if err == nil {
		err = json.Unmarshal(event.Data.Raw, &session)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.revision[session.ID]++
	for _, wake := range b.watchers[session.ID] {
		wake <- b.revision[session.ID]
	}
	b.mu.Unlock()
	_, _ = io.WriteString(w, `{"received":true}`)
}
