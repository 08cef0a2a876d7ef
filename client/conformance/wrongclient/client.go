package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client/conformance/program"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// plain is a client with gRPC's own balancer and one flaw.
type plain struct {
	program.Target
	flaw string
	open context.Context // ends with close
	end  context.CancelFunc

	mu      sync.Mutex
	conns   []*grpc.ClientConn // the first one is for calls too
	watches int                // begun
}

// perConnection is how many watches a connection gets: proxies allow 100 streams.
const perConnection = 50

// serviceConfig is that of server/docs/clients.md. gRPC's own health check is left out: it makes no call behind a proxy that
// refuses the health service.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{
		"name": [{"service": "verification.v1.VerificationService", "method": "GetStatus"}],
		"waitForReady": true,
		"retryPolicy": {
			"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 3,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}, {
		"name": [{"service": "verification.v1.VerificationService", "method": "RetryVerification"}],
		"waitForReady": true
	}]
}`

func dial(t program.Target, flaw string) (program.Client, error) {
	if flaw == oneAddress {
		t.Addresses = t.Addresses[:1]
	}
	p := &plain{Target: t, flaw: flaw}
	p.open, p.end = context.WithCancel(context.Background())
	return p, p.connect()
}

// connect adds a connection to all addresses.
func (p *plain) connect() error {
	addresses := manual.NewBuilderWithScheme("plain")
	var all resolver.State
	for _, address := range p.Addresses {
		all.Addresses = append(all.Addresses, resolver.Address{Addr: address})
	}
	addresses.InitialState(all)
	conn, err := grpc.NewClient("plain:///service",
		grpc.WithResolvers(addresses), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: p.Backoff, MaxDelay: p.MaxBackoff, Multiplier: 2, Jitter: 0.5},
			MinConnectTimeout: time.Second,
		}))
	if err == nil {
		p.conns = append(p.conns, conn)
	}
	return err
}

func (p *plain) rpc() verificationv1.VerificationServiceClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	return verificationv1.NewVerificationServiceClient(p.conns[0])
}

// watchRPC returns the connection of a further watch.
func (p *plain) watchRPC() (verificationv1.VerificationServiceClient, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches++
	if p.watches > perConnection*len(p.conns) && p.flaw != oneConnection {
		if err := p.connect(); err != nil {
			return nil, err
		}
	}
	return verificationv1.NewVerificationServiceClient(p.conns[len(p.conns)-1]), nil
}

func (p *plain) Close() error {
	p.end()
	if p.flaw == neverCloses {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, conn := range p.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// authorized returns a context whose calls have the token.
func (p *plain) authorized(ctx context.Context) context.Context {
	if p.Token == "" || p.flaw == anonymous {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.Token)
}

func (p *plain) Status(ctx context.Context, session, reference string) (*verificationv1.Verification, error) {
	request := &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: session}}
	if session == "" {
		request.Subject = &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: reference}
	}
	response, err := p.rpc().GetStatus(p.authorized(ctx), request)
	return response.GetVerification(), p.failure(err)
}

func (p *plain) Retry(ctx context.Context, session string) (program.Link, error) {
	request := &verificationv1.RetryVerificationRequest{SessionId: session}
	response, err := p.rpc().RetryVerification(p.authorized(ctx), request)
	if status.Code(err) == codes.Unavailable && p.flaw == repeatsRetries {
		response, err = p.rpc().RetryVerification(p.authorized(ctx), request)
	}
	if err != nil {
		return program.Link{}, p.failure(err)
	}
	printed := "[redacted]"
	if p.flaw == tellsSecrets {
		printed = fmt.Sprint(response)
	}
	return program.Link{
		Session: response.GetVerification().GetSessionId(), ClientSecret: response.GetClientSecret(), URL: response.GetUrl(), Printed: printed,
	}, nil
}
