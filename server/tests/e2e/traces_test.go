package e2e

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// fakeCollector is an OTLP collector that keeps the spans that it receives, over HTTP or gRPC.
type fakeCollector struct {
	collector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	services map[string]bool
	spans    []*tracev1.Span
}

func (r *fakeCollector) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				r.services[attribute.GetValue().GetStringValue()] = true
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *fakeCollector) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var body io.Reader = request.Body
	if request.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(request.Body)
	}
	data, err := io.ReadAll(body)
	var export collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(data, &export) != nil || request.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = r.Export(request.Context(), &export)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// startFakeCollector returns the collector and the variables that lead to it.
func startFakeCollector(t *testing.T, protocol string) (*fakeCollector, []string) {
	t.Helper()
	r := &fakeCollector{services: map[string]bool{}}
	if protocol != "grpc" {
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		return r, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); await.One(t, served) })
	return r, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + listener.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
}

// named returns the spans of a name whose attributes include these, as key=value.
func (r *fakeCollector) named(name string, attributes ...string) (found []*tracev1.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, span := range r.spans {
		has := attributesOf(span)
		if span.GetName() == name && !slices.ContainsFunc(attributes, func(want string) bool { return !slices.Contains(has, want) }) {
			found = append(found, span)
		}
	}
	return found
}

func attributesOf(span *tracev1.Span) (texts []string) {
	for _, attribute := range span.GetAttributes() {
		value := attribute.GetValue()
		text := value.GetStringValue()
		if text == "" {
			text = fmt.Sprint(value.GetIntValue())
		}
		texts = append(texts, attribute.GetKey()+"="+text)
	}
	return texts
}

func (r *fakeCollector) one(t *testing.T, name string, attributes ...string) *tracev1.Span {
	t.Helper()
	found := r.named(name, attributes...)
	if len(found) != 1 {
		t.Fatalf("%d spans %q %v, want one of:\n%s", len(found), name, attributes, r)
	}
	return found[0]
}

func (r *fakeCollector) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, span := range r.spans {
		fmt.Fprintf(&b, "%x %x<-%x %s %v\n", span.GetTraceId(), span.GetSpanId(), span.GetParentSpanId(), span.GetName(), attributesOf(span))
	}
	return b.String()
}

// stop ends servers, which flushes their spans.
func stop(t *testing.T, servers ...*rig.Process) {
	t.Helper()
	for _, server := range servers {
		server.Signal(syscall.SIGTERM)
	}
	for _, server := range servers {
		if code := server.Exit(rig.Soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

func wantChild(t *testing.T, child, parent *tracev1.Span) {
	t.Helper()
	if string(child.GetTraceId()) != string(parent.GetTraceId()) || string(child.GetParentSpanId()) != string(parent.GetSpanId()) {
		t.Errorf("%s is not within %s", child.GetName(), parent.GetName())
	}
}

// TestATraceFromWebhookToDelivery: a change comes to one server, is watched on another, and is one trace at the collector.
// A retry, and the change that it makes, are in the trace of the caller.
func TestATraceFromWebhookToDelivery(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			r, env := startFakeCollector(t, protocol)
			p := newTwoReplicas(t, env...)
			id := p.stripe.NewSession("person-PlantedReference")
			stream, err := p.clients[1].WatchStatus(t.Context(), rig.WatchSessionRequest(id, ""))
			if err != nil {
				t.Fatal(err)
			}
			revisions, _ := receive(stream)
			wantRevision(t, revisions, 1)
			all, err := p.clients[0].WatchStatus(t.Context(), rig.WatchAllRequest(""))
			if err != nil {
				t.Fatal(err)
			}
			own, err := p.clients[0].WatchStatus(t.Context(), rig.WatchSessionRequest(id, "")) // is woken before the feed tells
			if err != nil {
				t.Fatal(err)
			}
			ownRevisions, _ := receive(own)
			wantRevision(t, ownRevisions, 1)
			allRevisions, _ := receive(all)
			wantRevision(t, allRevisions, 0)
			p.stripe.SubmitAndFinish(id, "document_expired")
			wantRevision(t, revisions, 2)
			wantRevision(t, revisions, 3)
			wantRevision(t, allRevisions, 2)
			wantRevision(t, allRevisions, 3)
			wantRevision(t, ownRevisions, 2)
			wantRevision(t, ownRevisions, 3)
			const callersTrace, callersSpan = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			ctx := metadata.AppendToOutgoingContext(rig.Within(t, rig.Soon), "traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
			p.stripe.AnswerWith(answerKeys("ek_test_PlantedKey"))
			response, err := p.clients[0].RetryVerification(ctx, &verificationv1.RetryVerificationRequest{SessionId: id, EphemeralKeyVersion: "2026-09-30.endive"})
			if err != nil || response.GetEphemeralKeySecret() != "ek_test_PlantedKey" {
				t.Fatalf("%v, %v; want the key", response, err)
			}
			p.stripe.AnswerWith(nil)
			wantRevision(t, revisions, 4)
			wantRevision(t, allRevisions, 4)
			wantRevision(t, ownRevisions, 4)
			p.stripe.Do(p.stripe.Cancel, id) // one event alone: the watches wait for it
			wantRevision(t, revisions, 5)
			wantRevision(t, allRevisions, 5)
			wantRevision(t, ownRevisions, 5)
			stop(t, p.servers[:]...)

			session := "verification.session_id=" + id
			event := r.one(t, "apply event", session, "verification.event_type=identity.verification_session.canceled", "verification.effect=applied")
			commit := r.one(t, "commit", session, "verification.revision=5", "verification.result=committed")
			wantChild(t, commit, event)
			webhooks := r.named("webhook")
			at := slices.IndexFunc(webhooks, func(s *tracev1.Span) bool { return string(s.GetSpanId()) == string(event.GetParentSpanId()) })
			if at < 0 || len(webhooks[at].GetParentSpanId()) != 0 {
				t.Fatalf("the event is in no webhook's span:\n%s", r)
			}
			wantChild(t, event, webhooks[at])
			wantChild(t, r.one(t, "deliver change", session, "verification.revision=5", "verification.watch=all"), commit)
			r.wantDelivered(t, commit, session, "verification.revision=5", "verification.watch=session")

			call := r.one(t, "verification.v1.VerificationService/RetryVerification")
			if fmt.Sprintf("%x %x", call.GetTraceId(), call.GetParentSpanId()) != callersTrace+" "+callersSpan {
				t.Errorf("the retry is not in its caller's trace:\n%s", r)
			}
			granted := r.one(t, "commit", session, "verification.revision=4")
			wantChild(t, granted, call)
			wantChild(t, r.one(t, "stripe retrieve", "verification.result=ok"), call)
			wantChild(t, r.one(t, "stripe ephemeral_key", "verification.result=ok"), call)
			r.wantDelivered(t, granted, "verification.revision=4", "verification.watch=session")
			r.wantHarmless(t)
		})
	}
}

// wantDelivered checks that both servers delivered a change in the trace that made it.
func (r *fakeCollector) wantDelivered(t *testing.T, commit *tracev1.Span, attributes ...string) {
	t.Helper()
	found := r.named("deliver change", attributes...)
	if len(found) != 2 {
		t.Fatalf("%d deliveries %v, want two, of:\n%s", len(found), attributes, r)
	}
	for _, delivery := range found {
		wantChild(t, delivery, commit)
	}
}

// wantHarmless checks every span: it has allowed attributes only, and no span is of a stream.
func (r *fakeCollector) wantHarmless(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.services["verification-status"] || len(r.services) != 1 {
		t.Errorf("the services are %v", r.services)
	}
	for _, span := range r.spans {
		for _, attribute := range attributesOf(span) {
			key, value, _ := strings.Cut(attribute, "=")
			switch {
			case strings.HasPrefix(key, "verification."), strings.HasPrefix(key, "rpc."), key == "server.address", key == "server.port":
			default:
				t.Errorf("%s has an attribute %s", span.GetName(), key)
			}
			if strings.Contains(value, "Planted") || strings.Contains(value, "document_expired") || strings.Contains(value, "_secret_") {
				t.Errorf("%s tells %s", span.GetName(), attribute)
			}
		}
		if strings.Contains(span.GetName(), "Watch") {
			t.Errorf("a stream has a span: %s", span.GetName())
		}
	}
}

// TestTracesThatAreNotWantedCostNothing: neither a feed entry nor a span, with no collector and with a
// sampler that drops everything.
func TestTracesThatAreNotWantedCostNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	r, env := startFakeCollector(t, "http/protobuf")
	for name, more := range map[string][]string{
		"no endpoint": nil,
		"disabled":    append(env, "OTEL_SDK_DISABLED=true"),
		"not sampled": append(env, "OTEL_TRACES_SAMPLER=parentbased_always_off"),
	} {
		t.Run(name, func(t *testing.T) {
			p := newTwoReplicas(t, more...)
			id := p.stripe.NewSession("person")
			rig.GetStatus(t, p.clients[0], id)
			stop(t, p.servers[:]...)
			if spans := r.String(); spans != "" {
				t.Errorf("spans:\n%s", spans)
			}
			entries := feedEntries(t, p.redis.Addr)
			if len(entries) != 1 || entries[0]["s"] != id {
				t.Fatalf("the feed holds %v", entries)
			}
			if trace, found := entries[0]["c"]; found {
				t.Errorf("a feed entry holds a trace: %x", trace)
			}
		})
	}
}

// feedEntries are all entries of the change feed.
func feedEntries(t *testing.T, addr string) (entries []map[string]any) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	ctx := rig.Within(t, rig.Soon)
	for keys := client.Scan(ctx, 0, "vs:*:feed", 1000).Iterator(); keys.Next(ctx); {
		messages, err := client.XRange(ctx, keys.Val(), "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range messages {
			entries = append(entries, message.Values)
		}
	}
	return entries
}

// TestACollectorThatIsAwayHoldsNothingUp: the process serves, complains, and stops within its limit.
func TestACollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // it takes connections and never answers
	p := newTwoReplicas(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+listener.Addr().String(), "DRAIN_TIMEOUT=8s",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20PlantedCollectorToken")
	p.stripe.NewSession("person")
	began := time.Now()
	stop(t, p.servers[0])
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("the stop took %v", took)
	}
	log := p.servers[0].Stderr.String()
	if !strings.Contains(log, "the last traces could not be sent") || strings.Contains(log, "PlantedCollectorToken") {
		t.Errorf("the log does not say that spans were lost, or holds the token:\n%s", rig.Tail(log))
	}
}

// TestOnlyCallsThatAreLetInAreTraced: with every span sampled, and with only those that a caller asks for. A call without
// credentials, with wrong ones or without the right makes no span, with any trace id.
func TestOnlyCallsThatAreLetInAreTraced(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, sampler := range []string{"parentbased_always_on", "parentbased_traceidratio"} {
		t.Run(sampler, func(t *testing.T) {
			r, env := startFakeCollector(t, "http/protobuf")
			good, goodLine := newToken(t, "reader", "read")
			other, otherLine := newToken(t, "retrier", "retry")
			p := newTwoReplicas(t, append(env, "OTEL_TRACES_SAMPLER="+sampler, "OTEL_TRACES_SAMPLER_ARG=0",
				"GRPC_TOKENS_FILE="+writeFile(t, "tokens", goodLine+otherLine))...)
			id := p.stripe.NewSession("person")
			const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			call := func(token string) error {
				ctx := metadata.AppendToOutgoingContext(rig.Within(t, rig.Soon), "traceparent", "00-"+trace+"-"+parent+"-01", "tracestate", "planted=1")
				if token != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
				}
				watch, err := p.clients[0].WatchStatus(ctx, rig.WatchSessionRequest(id, ""))
				if err == nil {
					_, err = watch.Recv()
				}
				_, errUnary := p.clients[0].GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
				if status.Code(err) != status.Code(errUnary) {
					t.Errorf("the watch ends with %v, the call with %v", err, errUnary)
				}
				return errUnary
			}
			for token, want := range map[string]codes.Code{"": codes.Unauthenticated, good[:len(good)-4] + "AAAA": codes.Unauthenticated, other: codes.PermissionDenied} {
				if got := status.Code(call(token)); got != want {
					t.Errorf("%v, want %v", got, want)
				}
			}
			if err := call(good); err != nil {
				t.Fatal(err)
			}
			stop(t, p.servers[:]...)
			span := r.one(t, "verification.v1.VerificationService/GetStatus")
			if got := fmt.Sprintf("%x %x %s", span.GetTraceId(), span.GetParentSpanId(), span.GetTraceState()); got != trace+" "+parent+" planted=1" {
				t.Errorf("the span of the call that was let in is in %s:\n%s", got, r)
			}
			if n := strings.Count(r.String(), trace); n != 1 {
				t.Errorf("%d spans in the callers' trace, want 1:\n%s", n, r)
			}
		})
	}
}
