package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// The pace of each caller. Links take long, so that some calls are always in flight.
const (
	statusEvery = 100 * time.Millisecond
	linkEvery   = time.Second
	linkTakes   = 700 * time.Millisecond // at Stripe
)

// callers ask for statuses, and for links for people to try again, over and over. Half of them use the Go client, half gRPC with the
// service config that server/docs/clients.md recommends. Nothing is tried again but by these two.
type callers struct {
	t        *testing.T
	target   string
	config   string
	webhooks *steadyWebhooks // whose sessions they ask for
	sessions []string        // of people who try again

	statuses, links outcomes
	attempts        attempts
	ctx             context.Context
	end             context.CancelFunc
	ends            sync.WaitGroup
}

func newCallers(t *testing.T, target string, m *steadyWebhooks, s *rig.FakeStripe) *callers {
	t.Helper()
	config := document.Code(t, "server/docs/clients.md", "service-config")
	c := &callers{t: t, target: target, config: config, webhooks: m}
	for n := range 40 { // a session has few links without a new attempt
		c.sessions = append(c.sessions, s.NewSession(fmt.Sprintf("person-%d", n)))
	}
	s.AnswerWith(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(linkTakes):
		case <-r.Context().Done():
		}
		return false
	})
	c.ctx, c.end = context.WithCancel(t.Context())
	t.Cleanup(func() {
		c.end()
		c.ends.Wait()
	})
	return c
}

// join lets one caller of each kind begin after a while: programs start whenever they start.
func (c *callers) join(after time.Duration) {
	c.t.Helper()
	for _, begin := range []func() (caller, error){c.withGo, c.withConfig} {
		c.ends.Go(func() {
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(after):
			}
			one, err := begin()
			if err != nil {
				c.t.Error(err)
				return
			}
			c.run(one)
			_ = one.close()
		})
	}
}

// caller is one program.
type caller struct {
	status func(ctx context.Context, id string, minRevision int32) (*verificationv1.Verification, error)
	link   func(ctx context.Context, id string) (string, error)
	close  func() error
}

func (c *callers) withGo() (caller, error) {
	dialed, err := client.Dial(c.target, client.WithPlaintext(), client.WithDialOptions(grpc.WithStatsHandler(&c.attempts)))
	if err != nil {
		return caller{}, err
	}
	return caller{
		status: func(ctx context.Context, id string, minRevision int32) (*verificationv1.Verification, error) {
			return dialed.Status(ctx, client.Session(id), client.MinRevision(minRevision))
		},
		link: func(ctx context.Context, id string) (string, error) {
			link, err := dialed.Retry(ctx, id)
			if err != nil {
				return "", err
			}
			return link.URL.Reveal(), nil
		},
		close: dialed.Close,
	}, nil
}

func (c *callers) withConfig() (caller, error) {
	conn, err := grpc.NewClient(c.target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(c.config), grpc.WithStatsHandler(&c.attempts))
	if err != nil {
		return caller{}, err
	}
	bare := verificationv1.NewVerificationServiceClient(conn)
	return caller{
		status: func(ctx context.Context, id string, minRevision int32) (*verificationv1.Verification, error) {
			response, err := bare.GetStatus(ctx, &verificationv1.GetStatusRequest{
				Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}, MinRevision: minRevision,
			})
			return response.GetVerification(), err
		},
		link: func(ctx context.Context, id string) (string, error) {
			response, err := bare.RetryVerification(ctx, &verificationv1.RetryVerificationRequest{SessionId: id})
			return response.GetUrl(), err
		},
		close: conn.Close,
	}, nil
}

// run calls until the end.
func (c *callers) run(one caller) {
	var both sync.WaitGroup
	both.Go(func() {
		c.every(linkEvery, func(ctx context.Context, n int) { c.links.count(c.askForLink(ctx, one, n)) })
	})
	c.every(statusEvery, func(ctx context.Context, n int) { c.statuses.count(c.askForStatus(ctx, one, n)) })
	both.Wait()
}

func (c *callers) every(d time.Duration, call func(ctx context.Context, n int)) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), rig.Soon) // it ends, though the callers be stopped
		call(ctx, n)
		cancel()
	}
}

func (c *callers) askForLink(ctx context.Context, one caller, n int) error {
	url, err := one.link(ctx, c.sessions[n%len(c.sessions)])
	if err == nil && url == "" {
		err = errors.New("an answer without a link")
	}
	return err
}

// askForStatus wants a status at least as new as the last webhook that was acknowledged before the call.
func (c *callers) askForStatus(ctx context.Context, one caller, n int) error {
	s := c.webhooks.sessions[n%len(c.webhooks.sessions)]
	kept := s.kept.Load()
	v, err := one.status(ctx, s.id, kept)
	if err == nil && v.GetRevision() < kept {
		err = fmt.Errorf("%s: revision %d, although %d was acknowledged", s.id, v.GetRevision(), kept)
	}
	return err
}

// stop ends the callers. No call must have failed.
func (c *callers) stop() {
	c.t.Helper()
	c.end()
	c.ends.Wait()
	c.statuses.check(c.t, "calls of GetStatus")
	c.links.check(c.t, "calls of RetryVerification")
	c.t.Logf("gRPC tried again: %d", c.attempts.n.Load()-c.statuses.n.Load()-c.links.n.Load())
}

// attempts counts the attempts of unary calls, with the further attempts of gRPC itself.
type attempts struct{ n atomic.Int64 }

func (*attempts) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (*attempts) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (*attempts) HandleConn(context.Context, stats.ConnStats) {}

func (a *attempts) HandleRPC(_ context.Context, s stats.RPCStats) {
	if begin, ok := s.(*stats.Begin); ok && !begin.IsServerStream {
		a.n.Add(1)
	}
}
