package mailer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// operator looks after persons, at one of the servers.
type operator struct {
	sessions verificationv1.VerificationServiceClient
	calls    verificationv1.OperatorServiceClient
}

func newOperator(t *testing.T, server *rig.Process) operator {
	sessions, conn := rig.Dial(t, server.GRPC)
	return operator{sessions, verificationv1.NewOperatorServiceClient(conn)}
}

// decide reads a session and calls act with the outcome that the operator sees. While Redis fails over, it tries again.
func (o operator) decide(ctx context.Context, id string, act func(outcomeRevision int32) error) error {
	for {
		seen, err := o.sessions.GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
		if err == nil {
			err = act(seen.GetVerification().GetOutcomeRevision())
		}
		if status.Code(err) != codes.Unavailable {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond): // Redis fails over
		case <-ctx.Done():
			return err
		}
	}
}

func (p *person) operator() operator { return p.operators[p.rng.IntN(len(p.operators))] }

// allow has an operator allow one more try and send a link.
func (p *person) allow(ctx context.Context) error {
	o := p.operator()
	return o.decide(ctx, p.id, func(outcomeRevision int32) error {
		allowed, err := o.calls.AllowRetry(ctx, &verificationv1.AllowRetryRequest{SessionId: p.id, OutcomeRevision: outcomeRevision})
		if err != nil {
			return err
		}
		if retry := allowed.GetVerification().GetRetry(); !retry.GetAllowed() {
			return fmt.Errorf("an operator allowed a try of %s, and it is denied: %v", p.id, retry)
		}
		retry, err := o.sessions.RetryVerification(ctx, &verificationv1.RetryVerificationRequest{SessionId: p.id})
		p.link = retry.GetUrl()
		return err
	})
}

// resolve has an operator resolve the session, or take the resolution back.
func (p *person) resolve(ctx context.Context, kind verificationv1.ResolutionKind) error {
	o := p.operator()
	return o.decide(ctx, p.id, func(outcomeRevision int32) error {
		response, err := o.calls.ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{
			SessionId: p.id, Kind: kind, OutcomeRevision: outcomeRevision,
		})
		if err != nil {
			return err
		}
		if got := response.GetVerification().GetResolution().GetKind(); got != kind {
			return fmt.Errorf("%s is resolved as %v, want %v", p.id, got, kind)
		}
		p.resolved = kind != verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED
		return nil
	})
}

// helped fails for good, and has one more try by an operator. It is verified by it, or fails and is verified by one of its own tries.
func (p *person) helped(ctx context.Context) error {
	return inOrder(
		func() error { return p.fail(ctx, final[p.rng.IntN(len(final))]) },
		func() error { return p.allow(ctx) },
		func() error {
			if p.rng.IntN(2) == 0 {
				return nil
			}
			return p.fail(ctx, p.someFailure())
		},
		func() error { return p.submit(ctx, stripesim.OutcomeVerified) },
		func() error { return p.awaitMails(ctx) },
	)
}

// dealtWith fails for good, and an operator resolves the session. The person submits once more on the page. If that fails too, the
// operator can take the resolution back and send a link.
func (p *person) dealtWith(ctx context.Context) error {
	result := p.someFailure()
	if p.rng.IntN(3) == 0 {
		result = stripesim.OutcomeVerified
	}
	err := inOrder(
		func() error { return p.fail(ctx, final[p.rng.IntN(len(final))]) },
		func() error {
			return p.resolve(ctx, verificationv1.ResolutionKind(1+p.rng.IntN(len(verificationv1.ResolutionKind_name)-1)))
		},
		func() error { return p.fail(ctx, result) },
	)
	if err != nil || result == stripesim.OutcomeVerified || p.rng.IntN(2) == 0 {
		return err
	}
	return inOrder(
		func() error { return p.resolve(ctx, verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED) },
		func() error { return p.allow(ctx) },
		func() error { return p.submit(ctx, stripesim.OutcomeVerified) },
		func() error { return p.awaitMails(ctx) },
	)
}
