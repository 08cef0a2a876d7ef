package rpc

import (
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// feedOf returns the FeedService beside a VerificationService.
func (p *pair) feedOf(c verificationv1.VerificationServiceClient) verificationv1.FeedServiceClient {
	if c == p.wire {
		return p.feed
	}
	return p.server.feed
}

// token returns the token of the first response to a watch that ends then.
func (p *pair) token(c verificationv1.VerificationServiceClient, request *verificationv1.WatchStatusRequest) string {
	p.t.Helper()
	r := &replica{VerificationServiceClient: c, t: p.t}
	w := r.eventuallyConsumes(request)
	w.stop()
	return w.token
}

// acknowledge acknowledges the token of the first response to a watch.
func (p *pair) acknowledge(name string, of *verificationv1.WatchStatusRequest) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := p.feedOf(c).AcknowledgeChanges(p.context(), &verificationv1.AcknowledgeChangesRequest{Consumer: name, ResumeToken: p.token(c, of)})
		return result(err, response)
	}
}

func (p *pair) acknowledgeToken(name, token string) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := p.feedOf(c).AcknowledgeChanges(p.context(), &verificationv1.AcknowledgeChangesRequest{Consumer: name, ResumeToken: token})
		return result(err, response)
	}
}

func (p *pair) consumers() call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := p.feedOf(c).ListConsumers(p.context(), &verificationv1.ListConsumersRequest{})
		return result(err, response)
	}
}

func (p *pair) deleteConsumer(name string) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := p.feedOf(c).DeleteConsumer(p.context(), &verificationv1.DeleteConsumerRequest{Consumer: name})
		return result(err, response)
	}
}

func TestClienttestConsumesAsTheServerDoes(t *testing.T) {
	p := newPair(t, func(b *backend) { b.lease = shortLease })
	p.set(object("vs_1", "processing", reference("person")))
	withToken := func(of, then *verificationv1.WatchStatusRequest) call {
		return func(c verificationv1.VerificationServiceClient) answer {
			return p.watch(1, resumed(then, p.token(c, of)))(c)
		}
	}
	for name, c := range map[string]call{
		"a bad name":               p.watch(1, byConsumer("Mailer")),
		"nobody must exist":        p.watch(1, byConsumer("", mustExist)),
		"no status":                p.watch(1, byConsumer("", withStatuses(0))),
		"an unknown status":        p.watch(1, byConsumer("", withStatuses(99))),
		"until settled":            p.watch(1, untilSettled(byConsumer(mailer))),
		"one that must exist":      p.watch(1, byConsumer(mailer, mustExist)),
		"a garbled token":          p.watch(1, resumed(byConsumer(mailer), "garbled")),
		"the token of all":         withToken(allSessions(), byConsumer("reader")),
		"the token of another":     withToken(byConsumer("one"), byConsumer("two")),
		"the token of a consumer":  withToken(byConsumer("one"), allSessions()),
		"acknowledge no name":      p.acknowledgeToken("", "garbled"),
		"acknowledge a bad name":   p.acknowledgeToken("Mailer", "garbled"),
		"acknowledge no token":     p.acknowledgeToken(mailer, ""),
		"acknowledge a bad token":  p.acknowledgeToken(mailer, "garbled"),
		"acknowledge for another":  p.acknowledge("three", byConsumer("three-b")),
		"acknowledge with all's":   p.acknowledge(mailer, allSessions()),
		"acknowledge the bookmark": p.acknowledge("four", byConsumer("four")),
		"delete nobody":            p.deleteConsumer("nobody"),
		"delete a bad name":        p.deleteConsumer("Nobody"),
	} {
		p.same(name, c)
	}
	for _, name := range []string{"one", "two", "three", "three-b", "four"} {
		p.same("delete "+name, p.deleteConsumer(name))
	}

	next := p.live(byConsumer(mailer))
	next("the bookmark", 1)
	p.same("a second stream", p.watch(1, byConsumer(mailer)))
	p.set(object("vs_1", "verified", reference("person")))
	next("a change", 1)
	p.same("a consumer that is behind", p.consumers())
	p.same("delete it", p.deleteConsumer(mailer))
	next("the end of its stream", 1)
	p.same("it is gone", p.watch(1, byConsumer(mailer, mustExist)))
	p.same("all are gone", p.consumers())

	for name, of := range map[string]*verificationv1.WatchStatusRequest{"the deleted one": byConsumer(mailer), "another": byConsumer("other")} {
		token := map[verificationv1.VerificationServiceClient]string{p.server: p.token(p.server, of), p.wire: p.token(p.wire, of)}
		p.same("delete "+name, p.deleteConsumer(mailer))
		next := p.live(byConsumer(mailer))
		next("the bookmark of a new one", 1)
		p.same("watch with the token of "+name, func(c verificationv1.VerificationServiceClient) answer {
			return p.watch(1, resumed(byConsumer(mailer), token[c]))(c)
		})
		p.same("acknowledge with the token of "+name, func(c verificationv1.VerificationServiceClient) answer {
			return p.acknowledgeToken(mailer, token[c])(c)
		})
		p.same("delete the new one", p.deleteConsumer(mailer))
		next("the end of its stream", 1)
	}
}

func TestClienttestFiltersAsTheServerDoes(t *testing.T) {
	for name, filter := range map[string]func(*verificationv1.AllSessions){
		"outcomes only": outcomesOnly, "verified": withStatuses(verificationv1.Status_STATUS_VERIFIED),
		"two statuses": withStatuses(verificationv1.Status_STATUS_VERIFIED, verificationv1.Status_STATUS_REQUIRES_INPUT),
		"both": func(all *verificationv1.AllSessions) {
			outcomesOnly(all)
			withStatuses(verificationv1.Status_STATUS_VERIFIED)(all)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.set(object("vs_1", "requires_input"))
			next := p.live(byConsumer("", filter))
			next("the bookmark", 1)
			p.set(object("vs_1", "processing"))
			p.set(object("vs_1", "requires_input", problem("document_expired", "It has expired."), report("vr_1")))
			for _, c := range []verificationv1.VerificationServiceClient{p.server, p.wire} { // a grant brings no outcome
				if _, err := c.RetryVerification(p.context(), retryRequest("vs_1")); err != nil {
					t.Fatal(err)
				}
			}
			p.set(object("vs_1", "requires_input", problem("document_expired", "It has expired."), report("vr_1"), reference("person"))) // neither does a reference
			p.set(object("vs_1", "verified", report("vr_2"), reference("person")))
			want := map[string]int{"outcomes only": 3, "verified": 1, "two statuses": 4, "both": 1}[name]
			next("the changes", want)
		})
	}
}
