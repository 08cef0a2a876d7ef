package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

const restricted = "rk_test_sensitive"

func withSensitive(c *stripeapi.Config) { c.SensitiveKey = keyed(restricted) }

// TestOutputsAgainstTheSimulator: the usual key gets all but the date and the number, and the restricted key these two, for 48 hours.
// A redacted session has nothing to compare.
func TestOutputsAgainstTheSimulator(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{key, restricted}, ProcessingDelay: stripesim.Immediately, RedactionDelay: stripesim.OnDemand,
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	plain, c, ctx := dial(t, server.URL, nil), dial(t, server.URL, withSensitive), context.Background()
	session, err := sim.Create(stripesim.NewSession{Metadata: map[string]string{
		"simulated_first_name": "planted Zoë", "simulated_date_of_birth": "1985-03-07", "simulated_id_number": "planted-77", "simulated_phone": "+31201234567",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Outputs(ctx, "", session.ID, false); !errors.Is(err, comparison.ErrNotComparable) {
		t.Errorf("before the check: %v, want ErrNotComparable", err)
	}
	if err := sim.Submit(session.ID, "verified"); err != nil {
		t.Fatal(err)
	}
	hidden := comparison.Outputs{DateOfBirth: comparison.Value{Hidden: true}, IDNumber: comparison.Value{Hidden: true}}
	read, err := c.Outputs(ctx, "", session.ID, false)
	if err != nil || read.FirstName.Text != "planted Zoë" || read.Phone.Text != "+31201234567" || read.LastName.Text == "" || read.Country.Text == "" ||
		read.Email != (comparison.Value{}) || read.DateOfBirth != (comparison.Value{}) || read.IDNumber != (comparison.Value{}) {
		t.Errorf("got other outputs than those of the session, error %v", err)
	}
	want := comparison.Outputs{DateOfBirth: comparison.Date(1985, 3, 7), IDNumber: comparison.Value{Text: "planted-77"}}
	if read, err := c.Outputs(ctx, "", session.ID, true); err != nil || read != want {
		t.Errorf("got other sensitive outputs than those of the session, error %v", err)
	}
	if read, err := plain.Outputs(ctx, "", session.ID, true); err != nil || read != hidden || plain.observed() != "" {
		t.Errorf("without a key for them: error %v, calls %q; want hidden values without a call", err, plain.observed())
	}
	now = now.Add(49 * time.Hour)
	if read, err := c.Outputs(ctx, "", session.ID, true); err != nil || read != hidden {
		t.Errorf("after 49 hours: error %v, want hidden values", err)
	}
	if _, err := c.Outputs(ctx, "", session.ID, false); err != nil {
		t.Errorf("after 49 hours the other outputs are refused: %v", err)
	}
	if err := errors.Join(sim.Redact(session.ID), sim.FinishRedaction(session.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Outputs(ctx, "", session.ID, false); !errors.Is(err, comparison.ErrNotComparable) {
		t.Errorf("after the redaction: %v, want ErrNotComparable", err)
	}
}

// TestOutputsAreAskedForByTheirKey: each request expands its own fields, with its own key and the account of the session.
func TestOutputsAreAskedForByTheirKey(t *testing.T) {
	body := `{"id":"vs_1","object":"identity.verification_session","created":1,"livemode":false,"status":"verified","type":"document","verified_outputs":{}}`
	s := serve(t, always(200, body))
	c := dial(t, s.URL, func(config *stripeapi.Config) {
		withSensitive(config)
		config.AccountKey = func(account string) verification.Secret {
			if account == "acct_own" {
				return "sk_test_own"
			}
			return ""
		}
	})
	for _, account := range []string{"", "acct_1", "acct_own"} {
		for _, sensitive := range []bool{false, true} {
			if _, err := c.Outputs(context.Background(), account, "vs_1", sensitive); err != nil {
				t.Fatal(account, sensitive, err)
			}
		}
	}
	var got []string
	for _, call := range s.seen() {
		got = append(got, fmt.Sprint(strings.TrimPrefix(call.header.Get("Authorization"), "Bearer "), call.header.Get("Stripe-Account"), call.query["expand[]"]))
	}
	want := []string{
		key + "[verified_outputs]", restricted + "[verified_outputs.dob verified_outputs.id_number]",
		key + "acct_1[verified_outputs]", restricted + "acct_1[verified_outputs.dob verified_outputs.id_number]",
		"sk_test_own[verified_outputs]", // and no sensitive ones: the restricted key is of another account
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRefusedSensitiveOutputsAreHidden, and say nothing about the usual key or the account: neither is alarmed about.
func TestRefusedSensitiveOutputsAreHidden(t *testing.T) {
	for status, body := range map[int]string{
		400: `{"error":{"type":"invalid_request_error","message":"planted"}}`,
		401: `{"error":{"type":"invalid_request_error","message":"planted"}}`,
		403: `{"error":{"type":"invalid_request_error","code":"account_invalid","message":"planted rak_identity_recent_sensitive_read"}}`,
	} {
		s := serve(t, always(status, body))
		c := dial(t, s.URL, func(config *stripeapi.Config) {
			withSensitive(config)
			config.AccountRefused = func(context.Context, string, time.Time, int64) bool { t.Error("the account is refused"); return true }
			config.AccountAnswered = func(context.Context, string, time.Time, int64) { t.Error("the account has answered") }
		})
		read, err := c.Outputs(context.Background(), "acct_1", "vs_1", true)
		if hidden := (comparison.Value{Hidden: true}); err != nil || read.DateOfBirth != hidden || read.IDNumber != hidden {
			t.Errorf("%d: error %v, want hidden values", status, err)
		}
		if log := c.logs.String(); c.observed() != "sensitive_outputs:refused" || !strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
			t.Errorf("%d: observed %s, log %s", status, c.observed(), log)
		} else if strings.Contains(log, "set a new key") != (status == 401) {
			t.Errorf("%d: the log does not tell a wrong key from results that are too old: %s", status, log)
		}
	}
}

// TestUnusableOutputsAreNotCompared: what is not Stripe's form is no answer, and null is what Stripe does not show.
func TestUnusableOutputsAreNotCompared(t *testing.T) {
	session := func(id, outputs string) string {
		return `{"id":"` + id + `","object":"identity.verification_session","created":1,"livemode":false,"status":"verified","type":"document","verified_outputs":` + outputs + `}`
	}
	for _, body := range []string{session("vs_2", `{}`), session("vs_1", `["planted"]`), session("vs_1", `{"first_name":7}`), "planted"} {
		s := serve(t, func(w http.ResponseWriter, _ call) { _, _ = io.WriteString(w, body) })
		if _, err := dial(t, s.URL, withSensitive).Outputs(context.Background(), "", "vs_1", false); !errors.Is(err, verification.ErrStripeUnavailable) {
			t.Errorf("%s: %v, want ErrStripeUnavailable", body, err)
		}
	}
	c := dial(t, serve(t, always(200, session("vs_1", `null`))).URL, withSensitive)
	others, err := c.Outputs(context.Background(), "", "vs_1", false)
	sensitive, errSensitive := c.Outputs(context.Background(), "", "vs_1", true)
	if err != nil || errSensitive != nil || !others.FirstName.Hidden || !others.Phone.Hidden || !sensitive.DateOfBirth.Hidden || !sensitive.IDNumber.Hidden {
		t.Errorf("null: %v, %v; want hidden values", err, errSensitive)
	}
	if _, err := c.Outputs(context.Background(), "", "planted", false); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("a wrong id: %v, want ErrStripeUnknown", err)
	}
}
