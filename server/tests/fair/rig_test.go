package fair

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/redistest"
)

const (
	bffName = "spiffe://fair.test/bff"
	policy  = `{"name": "fair", "allow_rules": [{"name": "the BFF", "source": {"principals": ["` + bffName + `"]}, "request": {"paths": [
		"/verification.v1.VerificationService/GetStatus", "/verification.v1.VerificationService/WatchStatus",
		"/verification.v1.VerificationService/RetryVerification"]}}]}`
)

// rights are the rights of the tokens, by caller. The first two belong to others, the last two to attackers.
var rights = map[string]string{"web": "read", "desk": "read,retry", "reader": "read", "retrier": "retry"}

// fairRig has everything that runs: Redis, Stripe, servers, and the BFF.
type fairRig struct {
	t       *testing.T
	stripe  *stripe
	ca      *authority
	redis   *redistest.Server
	tokens  map[string]string // by caller
	lines   string            // the tokens' file
	grpc    []string          // the servers' addresses
	webhook []string
	bff     string // its URL

	web, desk *client.Client
	known     string // a session that others ask for: verified
	persons   []*person
	target    orders
}

// newFairRig starts Redis and Stripe, and makes the certificates and tokens.
func newFairRig(t *testing.T) *fairRig {
	t.Helper()
	p := &fairRig{t: t, stripe: startStripe(t), ca: newAuthority(t), redis: redistest.Start(t), tokens: map[string]string{}}
	p.lines = filepath.Join(p.ca.dir, "tokens")
	var file strings.Builder
	for name, granted := range rights {
		made := begin(t, nil, program(t, "server"), "token", "new", "--name", name, "--rights", granted)
		made.AwaitWithin(soon, "a token", func() bool {
			for line := range strings.Lines(made.Stdout.String()) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "vst_") {
					p.tokens[name] = line
				}
				if strings.HasPrefix(line, name+" ") {
					file.WriteString(line + "\n")
					return p.tokens[name] != ""
				}
			}
			return false
		})
	}
	for name, content := range map[string]string{"tokens": file.String(), "policy.json": policy} {
		if err := os.WriteFile(filepath.Join(p.ca.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.ca.issue(t, "server", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	return p
}

// serve starts a server. Every limit has its default, but for settings that a test names.
func (p *fairRig) serve(changed ...string) {
	p.t.Helper()
	file := func(name string) string { return filepath.Join(p.ca.dir, name) }
	s := begin(p.t, append([]string{
		"GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"REDIS_URL=redis://" + p.redis.Addr, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"STRIPE_API_KEY=" + apiKey, "STRIPE_API_BASE=" + p.stripe.url,
		"GRPC_TLS_CERT_FILE=" + file("server.crt"), "GRPC_TLS_KEY_FILE=" + file("server.key"),
		"GRPC_CLIENT_CA_FILE=" + p.ca.file, "GRPC_AUTHZ_POLICY_FILE=" + file("policy.json"), "GRPC_TOKENS_FILE=" + p.lines,
	}, changed...), program(p.t, "server"), "serve")
	s.AwaitListening()
	s.AwaitReady(http.StatusOK)
	p.grpc, p.webhook = append(p.grpc, s.GRPC), append(p.webhook, s.Webhook)
	p.stripe.sendTo(p.webhook[0])
}

// startBFF starts the BFF as a client of the first server.
func (p *fairRig) startBFF() {
	p.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	p.bff = "http://" + addr
	bff := begin(p.t, []string{
		"BFF_ADDR=" + addr, "VERIFICATION_STATUS=" + p.ca.sidecar(p.t, p.grpc[0], bffName), "STRIPE_API_BASE=" + p.stripe.url, "STRIPE_API_KEY=" + apiKey,
	}, program(p.t, "bff"))
	bff.AwaitWithin(soon, "the BFF listens", func() bool { return strings.Contains(bff.Stderr.String(), p.bff) })
}

// dial connects a caller to one of the servers.
func (p *fairRig) dial(server int, caller string) *client.Client {
	c, err := client.Dial(p.grpc[server], client.WithTLS(p.ca.client()),
		client.WithBearerToken(func(context.Context) (string, error) { return p.tokens[caller], nil }))
	if err != nil {
		panic(err) // options that contradict each other
	}
	return c
}

// startFairRig starts one server and the BFF, with people on both sides of each attack.
func startFairRig(t *testing.T) *fairRig {
	t.Helper()
	p := newFairRig(t)
	p.serve()
	p.startBFF()
	p.web, p.desk = p.dial(0, "web"), p.dial(0, "desk")
	t.Cleanup(func() {
		_ = p.web.Close()
		_ = p.desk.Close()
		forwarding.CloseIdleConnections()
	})
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var err error
	p.known, err = p.stripe.attempt(ctx, "verified")
	p.must(err)
	p.target = orders{GRPC: p.grpc[0], BFF: p.bff, CA: p.ca.file, Reader: p.tokens["reader"], Retrier: p.tokens["retrier"], Connections: 20, Seed: *seed}
	if *runFor > 0 {
		p.target.Connections = 210 // with 100 streams each more than the default of GRPC_MAX_STREAMS
	}
	p.target.Verified, err = p.stripe.attempt(ctx, "verified")
	p.must(err)
	for range 20 {
		id, err := p.stripe.attempt(ctx, "document_expired")
		p.must(err)
		p.target.Many = append(p.target.Many, id)
	}
	p.target.Granted = p.target.Many[0]
	_, err = p.desk.Retry(ctx, p.target.Granted)
	p.must(err)
	for i := range 4 {
		known := newPerson(p.bff, fmt.Sprintf("127.0.1.%d", i+1))
		t.Cleanup(known.http.CloseIdleConnections)
		p.stripe.steps.Add(1)
		p.must(known.signUp(ctx))
		p.persons = append(p.persons, known)
	}
	attacker := newPerson(p.bff, attackersAddress)
	t.Cleanup(attacker.http.CloseIdleConnections)
	p.must(attacker.signUp(ctx))
	p.must(p.stripe.submit(attacker.session, "verified"))
	p.must(p.stripe.awaitTaken(ctx, attacker.session, 3))
	p.must(p.stripe.Settle(ctx))
	p.target.Cookie = attacker.cookie()
	for i := range 20 {
		begun := newPerson(p.bff, fmt.Sprintf("127.0.4.%d", i+1))
		p.stripe.steps.Add(1)
		p.must(begun.signUp(ctx))
		p.must(p.stripe.awaitTaken(ctx, begun.session, 1))
		begun.http.CloseIdleConnections()
		p.target.Begun = append(p.target.Begun, begun.cookie())
		p.stripe.attack(begun.session)
	}
	for _, id := range append([]string{attacker.session, p.target.Verified}, p.target.Many...) {
		p.stripe.attack(id)
	}
	return p
}

func (p *fairRig) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
