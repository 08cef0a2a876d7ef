package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// health is what the health service at the other end of a connection says, the better the greater. gRPC's
// own check takes every error of it for "not ready". An ingress that passes on the paths of the
// verification service and refuses all others would then make every call fail for ever. Here the answer
// only orders connections: if no better one is left, calls go to one that is not ready, and its server
// or proxy says in its own words why it cannot serve them.
type health int

const (
	healthPending health = iota // not asked yet, or no answer yet
	healthNotServing
	healthUnknown // the health service cannot be asked: refused by a proxy, not there, too many watches
	healthServing
)

// healthPatience is how long a connection waits for its first answer.
const healthPatience = time.Second

// healthBackoff has the waits before a health service that cannot be asked is asked again.
var healthBackoff = backoff{base: 500 * time.Millisecond, max: 30 * time.Second}

// healthProducer gives the balancer a way to call over one connection.
type healthProducer struct{}

func (healthProducer) Build(conn any) (balancer.Producer, func()) {
	return healthpb.NewHealthClient(conn.(grpc.ClientConnInterface)), func() {}
}

// watchHealth follows the health of a connection until it is lost. The lock is held.
func (b *connections) watchHealth(c *connection) {
	c.health = healthPending
	if c.streams.announced() < 2 {
		c.health = healthUnknown // the watch would take the place of the calls
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
	late := time.AfterFunc(healthPatience, func() { report(healthUnknown, true) })
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

// followHealth reports each answer until the stream ends, and whether there was one.
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
