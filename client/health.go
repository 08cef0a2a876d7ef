package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// health is the answer of the health service over one connection. A greater value is better.
//
// gRPC's own health check takes every error for "not ready". Behind an ingress that passes on only the paths of the
// verification service, every call would fail for ever. Here health only orders the connections: if no better one is left,
// calls use a connection that is not ready, and its server or proxy returns its own error.
type health int

const (
	healthPending health = iota // no answer yet
	healthNotServing
	healthUnknown // the health service cannot be asked: a proxy refuses it, it is not registered, or it has too many watches
	healthServing
)

// healthTimeout bounds the wait for the first answer over a connection.
const healthTimeout = time.Second

// healthBackoff has the waits before a health service that could not be asked is asked again.
var healthBackoff = backoff{base: 500 * time.Millisecond, max: 30 * time.Second}

// healthProducer lets the balancer call the health service over one connection.
type healthProducer struct{}

func (healthProducer) Build(conn any) (balancer.Producer, func()) {
	return healthpb.NewHealthClient(conn.(grpc.ClientConnInterface)), func() {}
}

// watchHealth follows the health of a connection until the connection is lost. The lock is held.
func (b *connections) watchHealth(c *connection) {
	c.health = healthPending
	if c.streams.announced() < 2 {
		c.health = healthUnknown // the health watch would take the only stream
		return
	}
	producer, release := c.sub.GetOrBuildProducer(healthProducer{})
	ctx, end := context.WithCancel(b.ctx)
	c.endHealth = end
	report := func(h health, onlyFirst bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if ctx.Err() != nil || c.health == h || onlyFirst && c.health != healthPending {
			return
		}
		c.health = h
		b.update()
	}
	late := time.AfterFunc(healthTimeout, func() { report(healthUnknown, true) })
	go func() {
		defer release()
		defer late.Stop()
		for failures := 1; ; failures++ {
			if followHealth(ctx, producer.(healthpb.HealthClient), func(h health) { report(h, false) }) {
				failures = 1
			}
			report(healthUnknown, false)
			if !sleep(ctx, healthBackoff.random(failures)) {
				return
			}
		}
	}()
}

// followHealth reports each answer until the stream ends. It returns whether there was one.
func followHealth(ctx context.Context, client healthpb.HealthClient, report func(health)) (answered bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: verificationv1.VerificationService_ServiceDesc.ServiceName})
	if err != nil {
		return false
	}
	for {
		answer, err := stream.Recv()
		switch {
		case err != nil:
			return answered
		case answer.GetStatus() == healthpb.HealthCheckResponse_SERVING:
			report(healthServing)
		default:
			report(healthNotServing)
		}
		answered = true
	}
}
