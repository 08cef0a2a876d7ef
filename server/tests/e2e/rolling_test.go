package e2e

import (
	"flag"
	"testing"
	"time"

	"google.golang.org/grpc/resolver/dns"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// rollingPace is the factor by which waiting times are shorter than in a cluster: preStop, DNS, the ingress, and how often
// gRPC asks DNS. The work of the servers takes its own time.
var rollingPace = flag.Int("rolling.pace", 5, "how many times faster than Kubernetes TestRollingUpdate is; 1: as slow as it")

// The worst values of what Kubernetes and gRPC do and the manifests do not say.
const (
	// lookEvery is how often gRPC's clients ask DNS at the most, in every language.
	lookEvery = 30 * time.Second
	// namesLag is the greatest age of DNS's answers: the ttl that kubeadm gives CoreDNS, which caches keep to.
	namesLag = 30 * time.Second
	// ingressLag is the longest time until an ingress controller knows of a change.
	ingressLag = 5 * time.Second
	// mostToStart is the longest time until a new replica runs: it is scheduled, and its image pulled.
	mostToStart = 10 * time.Second
)

// TestRollingUpdate: all three replicas are replaced as Kubernetes does it by the manifests, while webhooks come, callers
// call, and watches are open. Each webhook is accepted the first time, no call fails, and every watch resumes elsewhere
// without a hole or a repeat.
func TestRollingUpdate(t *testing.T) {
	pace := time.Duration(*rollingPace)
	dns.SetMinResolutionInterval(lookEvery / pace)
	t.Cleanup(func() { dns.SetMinResolutionInterval(lookEvery) })
	rng := newRand(t)
	stripe := rig.StartFakeStripe(t)
	c := newFakeDeployment(t, pace, stripe.Settings(redistest.Start(t).Addr))
	var old []*rig.Process
	for range c.replicas {
		old = append(old, c.start())
	}
	c.in.begin(old)
	target := "dns://" + serveNames(t, func() []*rig.Process { return c.in.before(namesLag / pace) }) + "/verification-status.test.:" + c.port
	ingress := serveIngress(t, func() []*rig.Process { return c.in.before(ingressLag / pace) })

	everything := watchEverything(t, target, 3)
	webhooks := newSteadyWebhooks(t, ingress, 50)
	watches := watchSessions(t, target, webhooks)
	webhooks.start(t)
	callers := newCallers(t, target, webhooks, stripe)
	callers.join(0)
	webhooks.awaitMore(t, "webhooks", 100)
	callers.statuses.awaitMore(t, "answers", 20)

	began := time.Now()
	rng.Shuffle(len(old), func(i, j int) { old[i], old[j] = old[j], old[i] })
	for i, p := range old {
		<-time.After(time.Duration(rng.Int64N(int64(mostToStart / pace)))) // which is the node's work, and no waiting for it
		c.in.change(c.start(), p)
		c.delete(p)
		if i == 0 { // from now until DNS tells of it, callers come who know only those that will go
			for range 6 {
				callers.join(time.Duration(rng.Int64N(int64(namesLag / pace))))
			}
		}
	}
	c.wait()
	took := time.Since(began)
	webhooks.awaitMore(t, "webhooks", 100)
	callers.statuses.awaitMore(t, "answers", 20)

	callers.stop()
	webhooks.stop(t)
	watches.finish(webhooks)
	everything.finish(webhooks)
	t.Logf("%d replicas were replaced in %v", c.replicas, took.Round(time.Millisecond))
}
