package rpc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/testing/protocmp"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// operatorPair is a pair whose operators can be called too.
type operatorPair struct {
	*pair
	fakeOperators verificationv1.OperatorServiceClient
}

func newOperatorPair(t *testing.T, change ...func(*backend)) *operatorPair {
	t.Helper()
	p := newPair(t, change...)
	connection, err := grpc.NewClient(p.fake.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return &operatorPair{p, verificationv1.NewOperatorServiceClient(connection)}
}

// allow makes both answer to AllowRetry.
func (p *operatorPair) allow(name string, request *verificationv1.AllowRetryRequest) answer {
	p.t.Helper()
	return p.sameOperation(name+": allow", func(c verificationv1.OperatorServiceClient) answer {
		response, err := c.AllowRetry(p.context(), request)
		return result(err, response)
	})
}

// resolve makes both answer to ResolveVerification.
func (p *operatorPair) resolve(name string, request *verificationv1.ResolveVerificationRequest) answer {
	p.t.Helper()
	return p.sameOperation(name+": resolve", func(c verificationv1.OperatorServiceClient) answer {
		response, err := c.ResolveVerification(p.context(), request)
		return result(err, response)
	})
}

func (p *operatorPair) sameOperation(name string, call func(verificationv1.OperatorServiceClient) answer) answer {
	p.t.Helper()
	want, got := call(p.server), call(p.fakeOperators)
	if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
		p.t.Errorf("%s: clienttest answers differently (-server +clienttest):\n%s", name, diff)
	}
	return want
}

// step does one step of a life to vs_1 in both: it sets an object, or calls as a text says.
func (p *operatorPair) step(name string, what any) {
	p.t.Helper()
	switch what := what.(type) {
	case verification.Object:
		p.set(what)
	case string:
		name = fmt.Sprintf("%s, %s", name, what)
		switch what {
		case "retry":
			p.same(name, p.retry(retryRequest("vs_1")))
		case "replace":
			p.same(name, p.retry(replaceRequest("vs_1")))
		case "allow":
			p.allow(name, &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
		case "declined", "closed", "take back":
			kind := map[string]verificationv1.ResolutionKind{"declined": declined, "closed": closed, "take back": takeBack}[what]
			p.resolve(name, &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: kind})
		default:
			p.t.Fatalf("no step %q", what)
		}
	}
	p.everything("vs_1")
}

// lifeSteps are what can happen to a session. The number distinguishes failures and events.
var lifeSteps = map[string]func(n int) any{
	"bad": func(n int) any {
		return object("vs_1", "requires_input", failure("document_expired", n), reference("person"))
	},
	"young": func(n int) any {
		return object("vs_1", "requires_input", failure("under_supported_age", n), reference("person"))
	},
	"left": func(int) any {
		return object("vs_1", "requires_input", problem("abandoned", "Left."), reference("person"))
	},
	"check":  func(int) any { return object("vs_1", "processing", reference("person")) },
	"verify": func(n int) any { return object("vs_1", "verified", report(fmt.Sprint("vr_", n)), reference("person")) },
	"cancel": func(int) any { return object("vs_1", "canceled", reference("person")) },
	"erase":  func(int) any { return object("vs_1", "requires_input", erasing(verification.RedactionRedacted)) },
}

func (p *operatorPair) live(life string) {
	p.t.Helper()
	for n, name := range strings.Split(life, ", ") {
		what := any(name)
		if step, ok := lifeSteps[name]; ok {
			what = step(n)
		}
		p.step(fmt.Sprintf("%s: step %d", life, n), what)
	}
	p.same(life+": the person", p.get(withPerson("person")))
	p.lists(life)
}

func TestClienttestLetsOperatorsHelpAsTheServerDoes(t *testing.T) {
	t.Parallel()
	for _, life := range []string{
		"young, allow, allow, retry, retry, check, bad, retry, check, young, retry, allow, retry",
		"bad, retry, check, bad, retry, check, bad, retry, allow, retry, check, bad, allow, allow, retry, verify",
		"bad, allow, retry, check, young, allow, check, bad, allow",
		"young, allow, check, young, retry, allow, retry",
		"young, left, allow, retry",
		"young, allow, left, retry, young",
		"young, cancel, retry, allow, allow, retry, replace, replace, allow",
		"young, allow, cancel, allow, replace, allow",
		"young, allow, retry, cancel, allow, replace",
		"bad, retry, check, bad, retry, cancel, replace, allow, replace",
		"young, declined, declined, closed, retry, allow, take back, take back, allow, retry",
		"young, allow, declined, retry, take back, retry",
		"young, declined, verify, allow, take back, allow",
		"young, closed, cancel, allow, replace, take back, replace",
		"check, declined, check, verify, take back, allow",
		"young, allow, declined, erase, take back, closed, allow, retry",
		"check, allow, verify, allow, cancel",
	} {
		t.Run(life, func(t *testing.T) {
			t.Parallel()
			newOperatorPair(t).live(life)
		})
	}
}

func TestClienttestLetsOperatorsHelpInAnyOrder(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	calls := []string{"retry", "replace", "allow", "declined", "closed", "take back"}
	steps := append([]string{"bad", "young", "left", "check", "verify", "cancel", "erase", "retry", "allow"}, calls...)
	for range 8 {
		life := []string{"bad"}
		for range 8 {
			next := steps[random.IntN(len(steps))]
			if slices.ContainsFunc(life, func(step string) bool { return slices.Contains([]string{"verify", "cancel", "erase"}, step) }) { // an event after it would be ambiguous
				next = calls[random.IntN(len(calls))]
			}
			life = append(life, next)
		}
		newOperatorPair(t).live(strings.Join(append(life, "replace", "allow", "closed"), ", "))
	}
}

func TestClienttestRefusesOperatorsAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newOperatorPair(t)
	p.set(object("vs_1", "requires_input", failure("under_supported_age", 1)))
	p.set(object("vs_1", "processing"))
	p.set(object("vs_1", "requires_input", failure("under_supported_age", 2)))
	for _, test := range []struct {
		name              string
		id                string
		kind              verificationv1.ResolutionKind
		seen              int32
		allowed, resolved string
	}{
		{"a bad id", "pi_1", declined, 0, "InvalidArgument", "InvalidArgument"},
		{"a session not known", "vs_none", declined, 0, "NotFound", "NotFound"},
		{"a session not known, at an outcome", "vs_none", declined, 3, "NotFound", "NotFound"},
		{"a kind to come", "vs_1", 99, 2, "Aborted", "InvalidArgument"},
		{"a negative outcome", "vs_1", 99, -1, "InvalidArgument", "InvalidArgument"},
		{"nothing right", "x", 99, -1, "InvalidArgument", "InvalidArgument"},
		{"an earlier outcome", "vs_1", declined, 1, "Aborted", "Aborted"},
		{"an outcome to come", "vs_1", declined, 4, "Aborted", "Aborted"},
		{"the outcome", "vs_1", closed, 3, "OK", "OK"},
		{"the outcome once more", "vs_1", closed, 3, "FailedPrecondition", "OK"}, // it is resolved by now
	} {
		for call, codes := range map[string][2]string{
			"allow":   {p.allow(test.name, &verificationv1.AllowRetryRequest{SessionId: test.id, OutcomeRevision: test.seen}).Code, test.allowed},
			"resolve": {p.resolve(test.name, &verificationv1.ResolveVerificationRequest{SessionId: test.id, Kind: test.kind, OutcomeRevision: test.seen}).Code, test.resolved},
		} {
			if codes[0] != codes[1] {
				t.Errorf("%s: %s: %s, want %s", test.name, call, codes[0], codes[1])
			}
		}
	}
}

// TestClienttestEndsAWatchAtAResolutionAsTheServerDoes, by session and by reference.
func TestClienttestEndsAWatchAtAResolutionAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newOperatorPair(t)
	p.set(object("vs_1", "requires_input", failure("under_supported_age", 1), reference("person")))
	session, person, all := p.pair.live(untilSettled(sessionWatch("vs_1"))), p.pair.live(untilSettled(byReference("person"))), p.pair.live(allSessions())
	session("snapshot", 1)
	person("snapshot by reference", 1)
	all("the bookmark", 1)
	p.allow("open", &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
	session("an allowance", 1)
	person("an allowance by reference", 1)
	p.resolve("settled", &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: declined})
	session("resolved, and the end", 2)
	person("resolved by reference, and the end", 2)
	p.resolve("settled no longer", &verificationv1.ResolveVerificationRequest{SessionId: "vs_1"})
	all("all three", 3)
}

func withPerson(reference string) *verificationv1.GetStatusRequest {
	request := statusByReference(reference)
	request.IncludePerson, request.IncludeHistory = true, true
	return request
}
