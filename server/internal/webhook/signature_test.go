package webhook_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	stripewebhook "github.com/stripe/stripe-go/v76/webhook"

	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

func nopLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestSignatures(t *testing.T) {
	good := sign(verifiedEvent, now, secret)
	v1 := good[strings.Index(good, "v1="):]
	tests := []struct {
		name   string
		header string
		reason webhook.Reason
	}{
		{"good", good, webhook.ReasonApplied},
		{"none", "", webhook.ReasonNotSigned},
		{"signed by an old secret and by this one", sign(verifiedEvent, now, another, secret), webhook.ReasonApplied},
		{"other schemes beside it", good + ",v0=00,v2=xyz", webhook.ReasonApplied},
		{"garbage for a signature beside it", "v1=zz," + good, webhook.ReasonApplied},
		{"time last", v1 + ",t=1790000300", webhook.ReasonApplied},
		{"the wrong secret", sign(verifiedEvent, now, another), webhook.ReasonWrongSignature},
		{"an empty secret", sign(verifiedEvent, now, ""), webhook.ReasonWrongSignature},
		{"another body", sign(verifiedEvent+" ", now, secret), webhook.ReasonWrongSignature},
		{"another time than the signed", "t=1790000301," + v1, webhook.ReasonWrongSignature},
		{"only the test scheme", strings.Replace(good, "v1=", "v0=", 1), webhook.ReasonWrongSignature},
		{"no hexadecimal", "t=1790000300,v1=hello", webhook.ReasonWrongSignature},
		{"cut off", good[:len(good)-2], webhook.ReasonWrongSignature},
		{"no time", v1, webhook.ReasonMalformedSignature},
		{"two times, the signed one last", "t=1," + good, webhook.ReasonMalformedSignature},
		{"two times, the signed one first", good + ",t=1790000300", webhook.ReasonMalformedSignature},
		{"time no number", "t=now," + v1, webhook.ReasonMalformedSignature},
		{"time beyond 64 bits", "t=99999999999999999999," + v1, webhook.ReasonMalformedSignature},
		{"trailing comma", good + ",", webhook.ReasonMalformedSignature},
		{"no parts", "hello", webhook.ReasonMalformedSignature},
		{"space after the comma", strings.Replace(good, ",", ", ", 1), webhook.ReasonWrongSignature},
		{"64 signatures", "t=1790000300" + strings.Repeat(",v1=00", 63) + "," + v1, webhook.ReasonApplied},
		{"65 signatures", "t=1790000300" + strings.Repeat(",v1=00", 64) + "," + v1, webhook.ReasonMalformedSignature},
		{"a header over 4 KiB", good + ",v0=" + strings.Repeat("0", 4<<10), webhook.ReasonMalformedSignature},
		{"300 s old", sign(verifiedEvent, now.Add(-300*time.Second), secret), webhook.ReasonApplied},
		{"301 s old", sign(verifiedEvent, now.Add(-301*time.Second), secret), webhook.ReasonTooOld},
		{"300 s ahead", sign(verifiedEvent, now.Add(300*time.Second), secret), webhook.ReasonApplied},
		{"301 s ahead", sign(verifiedEvent, now.Add(301*time.Second), secret), webhook.ReasonInFuture},
		{"ten years ahead", sign(verifiedEvent, now.AddDate(10, 0, 0), secret), webhook.ReasonInFuture},
		{"the end of time", "t=9223372036854775807," + v1, webhook.ReasonInFuture},
		{"the beginning of time", "t=-9223372036854775808," + v1, webhook.ReasonTooOld},
	}
	e := start(t, nil)
	bodies := map[string]bool{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := e.post(t, verifiedEvent, test.header)
			reason := got.result.Reason
			if reason == webhook.ReasonDuplicate {
				reason = webhook.ReasonApplied
			}
			if reason != test.reason {
				t.Fatalf("reason %s, want %s", reason, test.reason)
			}
			status := map[bool]int{true: 200, false: 400}[test.reason == webhook.ReasonApplied]
			checkAnswer(t, got, status, got.result.Reason)
			if status == 400 {
				bodies[got.body] = true
			}
		})
	}
	if len(bodies) != 1 {
		t.Errorf("the answers tell the faults of a signature apart: %v", bodies)
	}
	got := e.do(t, http.MethodPost, webhook.Path, strings.NewReader(verifiedEvent), good, good)
	checkAnswer(t, got, 400, webhook.ReasonMalformedSignature)
}

// Stripe's library and the signature of these tests agree.
func TestSignatureOfTheLibrary(t *testing.T) {
	e := start(t, nil)
	signed := stripewebhook.GenerateTestSignedPayload(&stripewebhook.UnsignedPayload{
		Payload: []byte(verifiedEvent), Secret: secret, Timestamp: now})
	if signed.Header != sign(verifiedEvent, now, secret) {
		t.Errorf("library: %s, here: %s", signed.Header, sign(verifiedEvent, now, secret))
	}
	checkAnswer(t, e.post(t, verifiedEvent, signed.Header), 200, webhook.ReasonApplied)
}

func TestSecretRoll(t *testing.T) {
	var current atomic.Pointer[[]verification.Secret]
	set := func(secrets ...verification.Secret) { current.Store(&secrets) }
	set(secret)
	e := start(t, func(c *webhook.Config) { c.Secrets = func() []verification.Secret { return *current.Load() } })
	try := func(status, position int, signers ...string) {
		t.Helper()
		got := e.post(t, verifiedEvent, sign(verifiedEvent, now, signers...))
		if got.status != status || got.result.Secret != position {
			t.Errorf("signed by %s: %d by secret %d, want %d by %d", signers, got.status, got.result.Secret, status, position)
		}
	}
	try(200, 1, secret)
	try(400, 0, another)
	set(another, secret)
	try(200, 2, secret)
	try(200, 1, another)
	// While a secret is rolled Stripe signs with both: the first one listed counts.
	try(200, 1, secret, another)
	set(another)
	try(400, 0, secret)
	try(200, 1, another)
	// If a reload leaves no secret, or a blank one, every webhook is refused.
	set()
	try(503, 0, "")
	try(503, 0, another)
	set("", " ")
	try(503, 0, "")
	try(503, 0, " ")
	set("", another)
	try(400, 0, "")
	try(200, 2, another)
}

func TestNewRefuses(t *testing.T) {
	secrets := func(s ...verification.Secret) func() []verification.Secret {
		return func() []verification.Secret { return s }
	}
	for name, cfg := range map[string]webhook.Config{
		"no applier":         {Secrets: secrets(secret)},
		"no source":          {Applier: &keeper{}},
		"no secret":          {Applier: &keeper{}, Secrets: secrets()},
		"empty secret":       {Applier: &keeper{}, Secrets: secrets(secret, "")},
		"blank secret":       {Applier: &keeper{}, Secrets: secrets("\n")},
		"negative tolerance": {Applier: &keeper{}, Secrets: secrets(secret), Tolerance: -1},
		"negative timeout":   {Applier: &keeper{}, Secrets: secrets(secret), ApplyTimeout: -1},
	} {
		if _, err := webhook.New(cfg); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := webhook.New(webhook.Config{Applier: &keeper{}, Secrets: secrets(secret)}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// A client with bad signatures must not be able to fill the log, and the operator must be able to see that the secret is wrong.
func TestBadSignaturesAreLoggedOnceAMinute(t *testing.T) {
	var clock atomic.Int64
	clock.Store(now.Unix())
	e := start(t, func(c *webhook.Config) { c.Clock = func() time.Time { return time.Unix(clock.Load(), 0) } })
	lines := func() int { return strings.Count(e.logs.String(), "STRIPE_WEBHOOK_SECRET") }
	for range 5 {
		e.post(t, verifiedEvent, sign(verifiedEvent, now, another))
	}
	if lines() != 1 {
		t.Errorf("%d lines, want 1:\n%s", lines(), e.logs)
	}
	clock.Add(60)
	e.post(t, verifiedEvent, sign(verifiedEvent, now, another))
	if lines() != 2 {
		t.Errorf("%d lines a minute later, want 2", lines())
	}
	clock.Add(1000)
	e.post(t, verifiedEvent, sign(verifiedEvent, now, secret))
	if !strings.Contains(e.logs.String(), "clock") {
		t.Errorf("an old signature does not point to the clock:\n%s", e.logs)
	}
}

// A flood for one reason must not hide the warning for another one: anyone can send unsigned requests, but a wrong secret is for the
// operator to correct.
func TestRefusedSignaturesAreLoggedByReason(t *testing.T) {
	var at atomic.Int64
	at.Store(now.Unix())
	e := start(t, func(c *webhook.Config) { c.Clock = func() time.Time { return time.Unix(at.Load(), 0) } })
	fresh := time.Unix(at.Load(), 0)
	signatures := map[webhook.Reason]string{
		webhook.ReasonNotSigned: "", webhook.ReasonMalformedSignature: "hello", webhook.ReasonWrongSignature: sign(verifiedEvent, fresh, another),
		webhook.ReasonTooOld: sign(verifiedEvent, fresh.Add(-time.Hour), secret), webhook.ReasonInFuture: sign(verifiedEvent, fresh.Add(time.Hour), secret),
	}
	for round, want := range []int{1, 1, 2} {
		for reason, signature := range signatures {
			for range 3 {
				if got := e.post(t, verifiedEvent, signature).result.Reason; got != reason {
					t.Fatalf("round %d: refused for %s, want %s", round, got, reason)
				}
			}
			if got := strings.Count(e.logs.String(), `"reason":"`+string(reason)+`","advice":"`); got != want {
				t.Errorf("round %d: %d lines for %s, want %d: %s", round, got, reason, want, e.logs.String())
			}
		}
		at.Add(30)
	}
}
