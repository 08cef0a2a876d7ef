package deploy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	program  string
	dir      string // an installation for the stand-ins: see standIns
	secrets  string // the folder of the secrets in it
	redis    *redistest.Server
	stripe   *stripesim.Sim
	endpoint string // the URL of the webhook endpoint
	replicas map[string]*replica
	clients  []verificationv1.VerificationServiceClient // of the caller backend, of each replica one
	people   context.CancelFunc                         // stops new people from coming, and waits
}

// newWorld starts a production whose replicas have these settings too.
func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	w := &world{t: t, program: shippedOnce(t), dir: t.TempDir(), replicas: map[string]*replica{}}
	w.secrets = filepath.Join(w.dir, "secrets")
	for _, name := range []string{"secrets", "logs", "bin"} {
		if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	env := append(w.secretFiles(), "STRIPE_API_BASE="+w.startStripe(), "GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0")
	env = append(env, settings...)
	w.write("env", strings.Join(env, "\n"))
	var webhooks []*url.URL
	for _, name := range []string{"verification-status-0", "verification-status-1"} {
		cmd := exec.Command(w.program, "serve")
		cmd.Env = env
		r := start(t, cmd)
		await(t, "a replica is ready", func() bool { status, _ := r.ready(t); return status == http.StatusOK })
		w.replicas[name] = r
		webhooks = append(webhooks, &url.URL{Scheme: "http", Host: r.webhook})
		w.clients = append(w.clients, w.dial(r, "backend"))
	}
	w.endpoint = balance(t, webhooks) + "/webhook"
	w.rollAtStripe(webhookSecret)
	w.live()
	return w
}

// rollOut replaces each replica by one with the settings that the Deployment has now, one after the other, at the same addresses.
func (w *world) rollOut() {
	w.t.Helper()
	env, err := os.ReadFile(filepath.Join(w.dir, "env"))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, old := range w.replicas {
		old.stop()
		cmd := exec.Command(w.program, "serve")
		cmd.Env = append(strings.Split(string(env), "\n"), "GRPC_ADDR="+old.grpc, "WEBHOOK_ADDR="+old.webhook, "ADMIN_ADDR="+old.admin)
		r := start(w.t, cmd)
		await(w.t, "the new replica is ready", func() bool { status, _ := r.ready(w.t); return status == http.StatusOK })
		w.replicas[name] = r
	}
}

// secretFiles writes the keys of the secret of the manifests, and returns the settings that name the files. The tokens are of the callers
// backend and checkout.
func (w *world) secretFiles() (env []string) {
	w.t.Helper()
	for _, key := range []struct{ name, setting, text string }{
		{"redis-url", "REDIS_URL_FILE", "redis://" + w.redis.Addr},
		{"stripe-api-key", "STRIPE_API_KEY_FILE", apiKey},
		{"stripe-webhook-secret", "STRIPE_WEBHOOK_SECRET_FILE", webhookSecret},
		{"tokens", "GRPC_TOKENS_FILE", tokenLine("backend") + tokenLine("checkout")},
	} {
		w.write(filepath.Join("secrets", key.name), key.text)
		env = append(env, key.setting+"="+filepath.Join(w.secrets, key.name))
	}
	return env
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// rollAtStripe makes the endpoint sign with this secret alone, as after a roll in Stripe's Dashboard without an overlap.
func (w *world) rollAtStripe(secret string) {
	w.t.Helper()
	if err := w.stripe.SetEndpoints(stripesim.Endpoint{URL: w.endpoint, Secrets: []string{secret}}); err != nil {
		w.t.Fatal(err)
	}
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

// token returns the bearer token of a caller.
func token(name string) string { return "vst_" + name + strings.Repeat("0", 43-len(name)) }

// tokenLine returns the caller's line of the file of tokens.
func tokenLine(name string) string {
	return fmt.Sprintf("%s %x read,watch-all,list,retry\n", name, sha256.Sum256([]byte(token(name))))
}

// bearer sends a token over a connection without TLS.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }

// dial connects a caller to a replica.
func (w *world) dial(r *replica, caller string) verificationv1.VerificationServiceClient {
	w.t.Helper()
	return verificationv1.NewVerificationServiceClient(w.connect(r, caller))
}

func (w *world) connect(r *replica, caller string) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token(caller))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// balance starts an ingress that sends the requests to the replicas in rotation, and returns its URL.
func balance(t *testing.T, to []*url.URL) string {
	var requests atomic.Uint64
	transport := &http.Transport{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to[requests.Add(1)%uint64(len(to))])
	}})
	t.Cleanup(func() { proxy.Close(); transport.CloseIdleConnections() })
	return proxy.URL
}

// live starts the load. Four times a second a new person comes and fails, until people is called. Until the test ends, a backend
// of each replica asks for the status of the person before ten times a second, which is known here, and another one watches all sessions.
func (w *world) live() {
	var newest, asked atomic.Pointer[string]
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
			asked.Store(newest.Swap(&session.ID))
		})
	})
	for _, client := range w.clients {
		backends.Go(func() {
			every(asking, 100*time.Millisecond, func() {
				if id := asked.Load(); id != nil {
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
