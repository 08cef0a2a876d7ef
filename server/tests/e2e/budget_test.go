package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestASpentBudgetIsToldApartFromAStripeThatFails: callers get the same reason for both, since the contract has no other. The metrics and
// the log lines of the calls name the limit, and whether it is the day's or the caller's share.
func TestASpentBudgetIsToldApartFromAStripeThatFails(t *testing.T) {
	t.Parallel()
	token, bearer := rig.TokensFile(t)
	for _, test := range []struct {
		limit    string
		settings []string
		options  []grpc.DialOption
	}{
		{"API_READS_PER_DAY", []string{"API_READS_PER_DAY=20"}, nil},
		{"CALLER_SHARE_PERCENT", []string{"API_READS_PER_DAY=40", token}, []grpc.DialOption{grpc.WithPerRPCCredentials(rig.Bearer(bearer))}},
	} {
		t.Run(test.limit, func(t *testing.T) {
			t.Parallel()
			stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
			p := rig.Serve(t, stripe.Settings(redis.Addr, test.settings...))
			client, _ := rig.Dial(t, p.GRPC, test.options...)
			http := rig.NewHTTPClient(t)
			const method = `grpc_method="verification.v1.VerificationService/`
			calls := `verification_stripe_budget_refused_calls_total{` + method + `GetStatus",limit="` + test.limit + `"}`
			reads := `verification_stripe_budget_refused_reads_total{limit="` + test.limit + `",purpose="lookup"}`
			if values := scrape(t, http, p); !has(values, calls, 0) || !has(values, reads, 0) {
				t.Errorf("before: calls %v, reads %v; want 0, so that an alert sees the first one", values[calls], values[reads])
			}
			ask := func(n int) error {
				_, err := client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{
					Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: fmt.Sprint("vs_Nobody", n)},
				})
				return err
			}
			asked, refused := 0, 0
			for ; refused < 3; asked++ {
				err := ask(asked)
				if status.Code(err) == codes.NotFound && asked < 40 {
					continue
				}
				rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
				refused++
			}
			var values map[string]float64
			p.Await("three refused calls in the metrics", func() bool { values = scrape(t, http, p); return values[calls] == 3 })
			if values[reads] != 3 || values[`verification_stripe_calls_total{operation="retrieve",outcome="budget"}`] != 3 {
				t.Errorf("refused reads %v, calls of Stripe that were not made %v; want 3 of both", values[reads], values[`verification_stripe_calls_total{operation="retrieve",outcome="budget"}`])
			}
			if got := values[`verification_stripe_calls_total{operation="retrieve",outcome="unavailable"}`]; got != 0 {
				t.Errorf("%v calls of Stripe failed, want none", got)
			}
			if lines := strings.Count(p.Stderr.String(), `"setting":"`+test.limit+`"`); lines != 3 {
				t.Errorf("%d lines name %s, want one for each refused call:\n%s", lines, test.limit, p.Stderr.String())
			}
			left := values[`verification_stripe_reads_left_by_purpose{purpose="lookup"}`]
			if all := values[`verification_stripe_reads_left_by_purpose{purpose="retry"}`]; (left == 0) != (test.limit == "API_READS_PER_DAY") || all != values["verification_stripe_reads_left"] || all <= left {
				t.Errorf("left for lookups %v, for retries %v, in all %v of %v", left, all, values["verification_stripe_reads_left"], values["verification_stripe_reads_per_day"])
			}
		})
	}
	t.Run("Stripe fails", func(t *testing.T) {
		t.Parallel()
		stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
		stripe.AnswerWith(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		})
		p := rig.Serve(t, stripe.Settings(redis.Addr))
		_, err := rig.ClientOf(t, p).GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Nobody"}})
		rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
		const name = `verification_stripe_calls_total{operation="retrieve",outcome="unavailable"}`
		client := rig.NewHTTPClient(t)
		p.Await("the failed call in the metrics", func() bool { return scrape(t, client, p)[name] == 1 })
		for series, value := range scrape(t, client, p) {
			if strings.HasPrefix(series, "verification_stripe_budget_refused") && value != 0 {
				t.Errorf("%s is %v, want 0", series, value)
			}
		}
		if strings.Contains(p.Stderr.String(), `"setting":`) {
			t.Errorf("a line names a limit:\n%s", p.Stderr.String())
		}
	})
}

// has reports whether a series is there with a value.
func has(values map[string]float64, series string, want float64) bool {
	got, found := values[series]
	return found && got == want
}
