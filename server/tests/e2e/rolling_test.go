package e2e

import (
	"flag"
	"testing"
	"time"

	"google.golang.org/grpc/resolver/dns"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// rollingPace is how many times faster than in a cluster everything passes that only takes time there:
// preStop, DNS, the ingress, and how often gRPC asks DNS. What the servers do takes as long as it takes.
var rollingPace = flag.Int("rolling.pace", 5, "how many times faster than Kubernetes TestRollingUpdate is; 1: as slow as it")

// What Kubernetes and gRPC do that the manifests do not say, at its worst.
const (
	// lookEvery is how often gRPC's clients ask DNS at the most, in every language.
	lookEvery = 30 * time.Second
	// namesLag is how old DNS's answers may be: the ttl that kubeadm gives CoreDNS, which caches keep to.
	namesLag = 30 * time.Second
	// ingressLag is how long an ingress controller may take to learn of a change.
	ingressLag = 5 * time.Second
	// mostToStart is how long a new replica may take until it runs: it is placed, and its image pulled.
	mostToStart = 10 * time.Second
)

// TestRollingUpdate: all three replicas are replaced as Kubernetes does it by the manifests, while webhooks
// come, callers call, and watches are open. Each webhook is taken the first time that it is sent, no
// call fails, and every watch goes on elsewhere without a hole or a repeat.
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
	mail := newSteadyWebhooks(t, ingress, 50)
	watches := watchSessions(t, target, mail)
	mail.start(t)
	callers := newCallers(t, target, mail, stripe)
	callers.join(0)
	mail.awaitMore(t, "webhooks", 100)
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
	mail.awaitMore(t, "webhooks", 100)
	callers.statuses.awaitMore(t, "answers", 20)

	callers.stop()
	mail.stop(t)
	watches.finish(mail)
	everything.finish(mail)
	t.Logf("%d replicas were replaced in %v", c.replicas, took.Round(time.Millisecond))
}
