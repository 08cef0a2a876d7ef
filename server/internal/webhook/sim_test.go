package webhook_test

import (
	"context"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// TestAgainstTheSimulator has a session's whole life delivered, signed by two secrets as in a roll.
func TestAgainstTheSimulator(t *testing.T) {
	e := start(t, func(c *webhook.Config) { c.Clock = time.Now })
	sim, err := stripesim.New(stripesim.Config{
		APIKeys:         []string{"sk_test_simulated"},
		ProcessingDelay: stripesim.Immediately,
		Endpoints:       []stripesim.Endpoint{{URL: "http://" + e.addr + webhook.Path, Secrets: []string{another, secret}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	ran := make(chan error, 1)
	go func() { ran <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := await.One(t, ran); err != nil {
			t.Errorf("simulator: %v", err)
		}
	})

	created, err := sim.Create(stripesim.NewSession{ClientReferenceID: "case-17"})
	if err != nil {
		t.Fatal(err)
	}
	for _, outcome := range []string{"document_expired", stripesim.OutcomeVerified} {
		if err := sim.Submit(created.ID, outcome); err != nil {
			t.Fatal(err)
		}
	}
	if err := sim.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, event := range e.keeper.kept() {
		seen[event.Object.Status+" "+event.Object.Error.Code]++
		if event.Object.ID != created.ID || event.Object.Reference != "case-17" || event.Second < created.Created {
			t.Errorf("event %+v", event)
		}
		if event.Type == verification.EventVerified && event.Object.Report == "" {
			t.Error("verified without a report")
		}
	}
	if len(e.keeper.kept()) != 5 || seen["requires_input "] != 1 || seen["processing "] != 2 ||
		seen["requires_input document_expired"] != 1 || seen["verified "] != 1 {
		t.Errorf("events %v", seen)
	}
}
