package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestTheRecordAndTheLogNameTheCallerOfARetry: the first caller, also where another one asks again.
func TestTheRecordAndTheLogNameTheCallerOfARetry(t *testing.T) {
	b, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	var lines bytes.Buffer
	for _, name := range []string{"spiffe://example.org/bff", "token:billing"} {
		caller := b.replica(t, func(c *Config) {
			c.Principal = func(context.Context) string { return name }
			c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
		})
		caller.retry(retryRequest("vs_1"))
		if !strings.Contains(lines.String(), "principal="+name) {
			t.Errorf("the log does not name %s:\n%s", name, lines.String())
		}
	}
	request := statusByID("vs_1")
	request.IncludeHistory = true
	response, err := r.GetStatus(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var grants int
	for _, entry := range response.GetHistory() {
		want := ""
		if entry.GetSource() == verificationv1.Source_SOURCE_RETRY {
			grants++
			want = "spiffe://example.org/bff"
		}
		if entry.GetPrincipal() != want {
			t.Errorf("%v names %q, want %q", entry, entry.GetPrincipal(), want)
		}
	}
	if grants != 1 {
		t.Errorf("%d grants in %v", grants, response.GetHistory())
	}
}
