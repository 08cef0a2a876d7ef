package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// stripeAPI is all that this service asks of Stripe.
type stripeAPI interface {
	Stripe
	ingest.Stripe
}

// backend is what the replicas share: one Redis, one Stripe, one clock.
type backend struct {
	addr   string
	prefix string    // of all keys
	stripe stripeAPI // nil: no API key
	policy verification.RetryPolicy
	clock  func() time.Time
	logger *slog.Logger
	maxAge time.Duration
	lease  time.Duration                                                     // of a consumer; 0: the default
	feed   int64                                                             // FeedMaxLen; 0: the default
	dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the store's own
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	return newBackendAt(redistest.Imitate(t).Addr(), "")
}

func newBackendAt(addr, prefix string) *backend {
	return &backend{
		addr: addr, prefix: prefix,
		policy: verification.RetryPolicy{MaxRetries: 2, DenyCodes: verification.DefaultDenyCodes()},
		clock:  time.Now,
		logger: slog.New(slog.DiscardHandler),
	}
}

// replica is one whole server over an in-memory connection.
type replica struct {
	verificationv1.VerificationServiceClient
	verificationv1.OperatorServiceClient
	feed    verificationv1.FeedServiceClient
	t       *testing.T
	store   store.Store
	stored  store.Backend // below store
	hub     *hub.Hub
	ingest  *ingest.Ingest
	service *Service
	headers []string // of the calls that have context, in pairs
}

// context is the context of the calls of a replica's caller.
func (r *replica) context() context.Context {
	return metadata.AppendToOutgoingContext(r.t.Context(), r.headers...)
}

// replica starts a server; change may alter its configuration first.
func (b *backend) replica(t *testing.T, change ...func(*Config)) *replica {
	t.Helper()
	opened, err := redisstore.Open(redisstore.Options{Addrs: []string{b.addr}, Prefix: b.prefix, FeedMaxLen: b.feed, Dial: b.dial, Policy: b.policy, Logger: b.logger})
	if err != nil {
		t.Fatal(err)
	}
	view := live.New(live.Config{Store: opened, CacheSessions: 1000, Logger: b.logger})
	r := &replica{t: t, store: view, stored: opened, hub: view.Hub()}
	config := Config{
		Live: view, Policy: b.policy, Clock: b.clock, Logger: b.logger,
		StreamMaxAge: b.maxAge, Operators: true,
		Consumers: consumers.New(consumers.Config{Store: opened, Clock: b.clock, Logger: b.logger, Lease: b.lease}),
	}
	into := ingest.Config{Store: r.store, Clock: b.clock, Logger: b.logger}
	if b.stripe != nil {
		config.Stripe, into.Stripe = b.stripe, b.stripe
	}
	r.ingest = ingest.New(into)
	config.Ingest = r.ingest
	for _, c := range change {
		c(&config)
	}
	r.service = newUnpaced(config)

	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, r.service)
	verificationv1.RegisterFeedServiceServer(server, r.service)
	verificationv1.RegisterOperatorServiceServer(server, r.service)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { view.Run(ctx) })
	connection, err := grpc.NewClient("passthrough:///replica",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.VerificationServiceClient, r.feed = verificationv1.NewVerificationServiceClient(connection), verificationv1.NewFeedServiceClient(connection)
	r.OperatorServiceClient = verificationv1.NewOperatorServiceClient(connection)
	t.Cleanup(func() {
		_ = connection.Close()
		server.Stop()
		cancel()
		running.Wait()
		r.ingest.Close()
		_ = opened.Close()
	})
	return r
}

// newUnpaced is New without pauses between the GETs of one session: most tests are about grants, not about links.
func newUnpaced(config Config) *Service {
	s := New(config)
	s.links.spacing = 0
	return s
}

// apply brings one event in, as the webhook does.
func (r *replica) apply(e verification.Event) verification.Outcome {
	r.t.Helper()
	outcome, err := r.ingest.Apply(r.t.Context(), e)
	if err != nil {
		r.t.Fatalf("%s: %v", e.ID, err)
	}
	return outcome
}

func (r *replica) status(id string) *verificationv1.Verification {
	r.t.Helper()
	response, err := r.GetStatus(r.t.Context(), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
	if err != nil {
		r.t.Fatalf("status of %s: %v", id, err)
	}
	return response.GetVerification()
}

func (r *replica) record(id string) verification.Session {
	r.t.Helper()
	session, err := r.store.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatalf("record of %s: %v", id, err)
	}
	return session
}

// archive archives a settled session, as SETTLED_TTL does much later.
func (r *replica) archive(id string) verification.Session {
	r.t.Helper()
	session, err := r.store.Update(r.t.Context(), id, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.Archive(current, time.Hour, time.Now().Add(100*24*time.Hour))
		return next, changed, nil
	})
	if err != nil || !session.IsArchived() {
		r.t.Fatalf("archiving %s: %v, archived: %v", id, err, session.IsArchived())
	}
	return session
}

// watched is the caller's end of a watch.
type watched struct {
	t      *testing.T
	cancel context.CancelFunc
	got    chan *verificationv1.WatchStatusResponse
	end    chan error // why it ended, nil for OK
	token  string     // of the last response taken
}

func (r *replica) watch(request *verificationv1.WatchStatusRequest) *watched {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.context())
	client, err := r.WatchStatus(ctx, request)
	if err != nil {
		r.t.Fatal(err)
	}
	w := &watched{t: r.t, cancel: cancel, got: make(chan *verificationv1.WatchStatusResponse, 1000), end: make(chan error, 1), token: request.GetResumeToken()}
	go func() {
		for {
			response, err := client.Recv()
			if errors.Is(err, io.EOF) {
				err = nil
				w.end <- err
				return
			}
			if err != nil {
				w.end <- err
				return
			}
			w.got <- response
		}
	}()
	r.t.Cleanup(cancel)
	return w
}

// next takes one response.
func (w *watched) next() *verificationv1.Verification {
	w.t.Helper()
	got, err := w.receive()
	if err != nil {
		w.t.Fatal(err)
	}
	w.token = got.GetResumeToken()
	if len(w.token) == 0 || len(w.token) > 2048 {
		w.t.Errorf("a token of %d characters", len(w.token))
	}
	return got.GetVerification()
}

// receive waits for one response; what came before the end comes first.
func (w *watched) receive() (*verificationv1.WatchStatusResponse, error) {
	select {
	case got := <-w.got:
		return got, nil
	case err := <-w.end:
		w.end <- err
		select {
		case got := <-w.got:
			return got, nil
		default:
			return nil, fmt.Errorf("the stream ended: %w", orOK(err))
		}
	case <-time.After(patience):
		return nil, errors.New("nothing came")
	}
}

var errOK = errors.New("OK")

func orOK(err error) error {
	if err == nil {
		return errOK
	}
	return err
}

// wantNext takes one response and fails unless it shows this revision and status.
func (w *watched) wantNext(id string, revision int32, stripeStatus string) *verificationv1.Verification {
	w.t.Helper()
	v := w.next()
	if v.GetSessionId() != id || v.GetRevision() != revision || v.GetStripeStatus() != stripeStatus {
		w.t.Fatalf("%s revision %d %s; want %s revision %d %s",
			v.GetSessionId(), v.GetRevision(), v.GetStripeStatus(), id, revision, stripeStatus)
	}
	return v
}

// ended waits for the end of the stream; nothing may come before it.
func (w *watched) ended() error {
	w.t.Helper()
	select {
	case err := <-w.end:
		select {
		case got := <-w.got:
			w.t.Fatalf("before the end came %v", got)
		default:
		}
		return err
	case <-time.After(patience):
		w.t.Fatal("the stream did not end")
	}
	return nil
}

// stop cuts the stream from the caller's side.
func (w *watched) stop() {
	w.cancel()
	for {
		select {
		case <-w.got:
		case err := <-w.end:
			if err != nil && status.Code(err) != codes.Canceled {
				w.t.Errorf("cut, it ended with %v", err)
			}
			return
		}
	}
}

const t0 = int64(1_700_000_000) // Stripe's second when the sessions of the tests are created

// object says what Stripe would say; change alters it.
func object(id, stripeStatus string, change ...func(*verification.Object)) verification.Object {
	o := verification.Object{ID: id, Type: "document", Status: stripeStatus, Created: t0}
	for _, c := range change {
		c(&o)
	}
	return o
}

func failure(code string, n int) func(*verification.Object) {
	return func(o *verification.Object) {
		o.Error = verification.Error{Code: code, Reason: "Reason of " + code + "."}
		o.Report = fmt.Sprintf("vr_%s_%d", o.ID, n)
	}
}

func reference(text string) func(*verification.Object) {
	return func(o *verification.Object) { o.Reference = text }
}

func created(second int64) func(*verification.Object) {
	return func(o *verification.Object) { o.Created = t0 + second }
}

var eventTypes = map[string]string{
	verification.StatusRequiresInput: verification.EventRequiresInput, verification.StatusProcessing: verification.EventProcessing,
	verification.StatusVerified: verification.EventVerified, verification.StatusCanceled: verification.EventCanceled,
}

// eventOf is the event with this number, at that second after t0.
func eventOf(n int, second int64, o verification.Object) verification.Event {
	return verification.Event{
		ID: fmt.Sprintf("evt_%s_%d", o.ID, n), Type: eventTypes[o.Status], Source: verification.SourceWebhook, Second: t0 + second, Object: o,
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

// syncBuffer is a log that may be written from many goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
