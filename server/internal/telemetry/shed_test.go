package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every request is counted. The log has one warning a minute for each limit, with the number of refused requests.
func TestSheddingCountsAllAndWarnsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics()
		var logs strings.Builder
		type key struct{}
		s := NewShedding(m, slog.New(slog.NewTextHandler(&logs, nil)),
			func(ctx context.Context) string { name, _ := ctx.Value(key{}).(string); return name })
		warnings := func(want ...string) {
			t.Helper()
			lines := strings.Split(strings.TrimSpace(logs.String()), "\n")
			if len(lines) != len(want) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), logs.String())
			}
			for i, line := range lines {
				if !strings.Contains(line, "level=WARN") || !strings.HasSuffix(line, want[i]) {
					t.Errorf("%s; want it to end with %q", line, want[i])
				}
			}
			logs.Reset()
		}
		named := context.WithValue(t.Context(), key{}, "token:web")
		for n := range 100 {
			s.Shed(named, fmt.Sprintf("/verification.v1.VerificationService/%s", []string{"GetStatus", "WatchStatus"}[n%2]), "CALLER_RATE")
			s.Shed(t.Context(), "webhook", "WEBHOOK_MAX_IN_FLIGHT")
		}
		warnings("setting=CALLER_RATE what=GetStatus refused=1 principal=token:web", "setting=WEBHOOK_MAX_IN_FLIGHT what=webhook refused=1")
		time.Sleep(shedWarnEvery)
		for range 10 {
			s.Shed(t.Context(), "webhook", "WEBHOOK_MAX_IN_FLIGHT")
		}
		warnings("setting=WEBHOOK_MAX_IN_FLIGHT what=webhook refused=100")
		text := metricsPage(m)
		for _, want := range []string{
			`verification_shed_total{limit="CALLER_RATE",what="GetStatus"} 50`, `verification_shed_total{limit="CALLER_RATE",what="WatchStatus"} 50`,
			`verification_shed_total{limit="WEBHOOK_MAX_IN_FLIGHT",what="webhook"} 110`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("no line %s", want)
			}
		}
	})
}
