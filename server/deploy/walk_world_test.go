package deploy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
)

const apiKey = "sk_test_0123456789abcdef"

// world is a small production: two replicas of the shipped program, one Redis, people, backends that call and watch, and a Stripe
// that sends its webhooks through a load balancer, and again until they are accepted.
type world struct {
	t        *testing.T
	redis    *redistest.Server
	stripe   *stripesim.Sim
	replicas map[string]*replica
	clients  []verificationv1.VerificationServiceClient
	people   context.CancelFunc // stops new people from coming, and waits
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, replicas: map[string]*replica{}}
	w.redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	base := w.startStripe()
	program := filepath.Join(t.TempDir(), "server")
	shipped(t, program)
	var webhooks []*url.URL
	for _, name := range []string{"verification-status-0", "verification-status-1"} {
		r := serve(t, exec.Command(program, "serve"), "REDIS_URL=redis://"+w.redis.Addr, "STRIPE_API_KEY="+apiKey, "STRIPE_API_BASE="+base)
		await(t, "a replica is ready", func() bool { status, _ := r.ready(t); return status == http.StatusOK })
		w.replicas[name] = r
		webhooks = append(webhooks, &url.URL{Scheme: "http", Host: r.webhook})
		conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		w.clients = append(w.clients, verificationv1.NewVerificationServiceClient(conn))
	}
	if err := w.stripe.SetEndpoints(stripesim.Endpoint{URL: balance(t, webhooks) + "/webhook", Secrets: []string{webhookSecret}}); err != nil {
		t.Fatal(err)
	}
	w.live()
	return w
}

func (w *world) startStripe() (base string) {
	w.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	base = "http://" + server.Listener.Addr().String()
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{apiKey}, BaseURL: base,
		Delivery: stripesim.DeliveryConfig{MaxAttempts: 1000, RetryMax: 2 * time.Second},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.stripe, server.Config.Handler = sim, sim.Handler()
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = sim.Run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-ended; server.Close() })
	return base
}

// balance starts an ingress that sends the requests to the replicas in rotation, and returns its URL.
func balance(t *testing.T, to []*url.URL) string {
	var requests atomic.Uint64
	transport := &http.Transport{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to[requests.Add(1)%uint64(len(to))])
	}})
	t.Cleanup(func() { proxy.Close(); transport.CloseIdleConnections() })
	return proxy.URL
}

// live starts the load. Four times a second a new person comes and fails, until people is called. Until the test ends, a backend
// of each replica asks for the newest person's status ten times a second, and another one watches all sessions.
func (w *world) live() {
	var newest atomic.Pointer[string]
	coming, endPeople := context.WithCancel(context.Background())
	asking, endAsking := context.WithCancel(context.Background())
	var people, backends sync.WaitGroup
	w.people = func() { endPeople(); people.Wait() }
	w.t.Cleanup(func() { w.people(); endAsking(); backends.Wait() })
	people.Go(func() {
		every(coming, 250*time.Millisecond, func() {
			session, err := w.stripe.Create(stripesim.NewSession{})
			if err == nil {
				err = w.stripe.Submit(session.ID, "document_expired")
			}
			if err != nil {
				w.t.Error(err)
			}
			newest.Store(&session.ID)
		})
	})
	for _, client := range w.clients {
		backends.Go(func() {
			every(asking, 100*time.Millisecond, func() {
				if id := newest.Load(); id != nil {
					_, _ = client.GetStatus(asking, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: *id}})
				}
			})
		})
		backends.Go(func() {
			stream, err := client.WatchStatus(asking, &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}})
			for err == nil {
				_, err = stream.Recv()
			}
		})
	}
}

func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// wrong counts the sessions whose status in the service differs from Stripe's.
func (w *world) wrong() (wrong, all int) {
	w.t.Helper()
	for _, session := range w.stripe.Sessions() {
		all++
		answer, err := w.clients[all%len(w.clients)].GetStatus(w.t.Context(), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: session.ID}})
		if err != nil || answer.GetVerification().GetStripeStatus() != session.Status || answer.GetVerification().GetLastError().GetStripeCode() != session.LastErrorCode {
			wrong++
		}
	}
	return wrong, all
}
