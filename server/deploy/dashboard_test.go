package deploy

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/telemetry"
)

// TestDashboardIsWellFormed: panels do not overlap, and each has a unique id, a title and a query.
func TestDashboardIsWellFormed(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range readDashboard(t) {
		if p.Title == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" || ids[p.ID] {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// rated returns an expression as Grafana sends it to a Prometheus that scrapes once a second.
func rated(expr string) string {
	return strings.NewReplacer("$__rate_interval", "10s", "$namespace", ".*", "$instance", ".*").Replace(expr)
}

// everyMetric serves metrics that all increase.
func everyMetric(t *testing.T) (addr string) {
	t.Helper()
	m := telemetry.NewMetrics()
	m.Gauge("verification_ready", func() float64 { return 1 })
	m.Gauge("verification_stripe_reads_left", func() float64 { return 4999 })
	m.Gauge("verification_stripe_reads_per_day", func() float64 { return 5000 })
	for _, purpose := range []string{"retry", "catch_up", "lookup"} {
		m.GaugeFor("verification_stripe_reads_left_by_purpose", purpose, func() float64 { return 4999 })
	}
	m.Gauge("verification_tls_certificate_not_before_timestamp_seconds", func() float64 { return 1_780_000_000 })
	m.Gauge("verification_tls_certificate_expiry_timestamp_seconds", func() float64 { return 1_790_000_000 })
	m.Gauge("verification_catch_up_interval_seconds", func() float64 { return 900 })
	m.Gauge("verification_watch_streams_max", func() float64 { return 20000 })
	m.Gauge("verification_feed_lag_seconds", func() float64 { return 0.5 })
	m.Gauge("verification_feed_max_age_seconds", func() float64 { return 604800 })
	m.Gauge("verification_feed_max_changes", func() float64 { return 1600000 })
	reads := func() float64 { return float64(time.Now().UnixMilli()) }
	m.Counter("verification_memory_hits_total", reads)
	m.Counter("verification_memory_misses_total", reads)
	page := httptest.NewServer(m.Handler())
	t.Cleanup(page.Close)
	calls := m.Method("verification.v1.VerificationService/GetStatus")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			m.Webhook(200, "applied", "identity.verification_session.verified", 1, time.Millisecond, 2*time.Second)
			m.Webhook(503, "apply_failed", "", 1, time.Second, -1)
			m.Commit("committed", 2, time.Millisecond)
			m.Doubt("pending")
			m.ReadThrough("found")
			m.StripeCall("retrieve", "ok")
			m.CatchUp("done", time.Now(), 1, 1, 1, 1)
			m.CatchUpBehind([]telemetry.BehindAccount{{Name: "acct_1", Since: time.Now()}})
			m.Consumers([]telemetry.ConsumerState{{Name: "mailer", Lag: time.Minute, Pending: 1, Active: true}})
			m.ThinWithoutSnapshot(1)
			m.FeedRewound()
			m.RedisMisconfigured("eviction", true)
			m.RedisServers([]telemetry.RedisServer{{Node: "master", UsedMemory: 7 << 20, MaxMemory: 8 << 20, EvictedKeys: time.Now().UnixMilli(), Policy: "noeviction"}}, time.Now())
			m.EndpointProblem("disabled", true)
			m.WatchOpened("session", true)
			m.WatchEnded("session", "Unavailable")
			m.WatchSent("session")
			m.FileReloaded("GRPC_TOKENS_FILE", false)
			m.CallRefused("ERROR_REASON_UNAUTHENTICATED")
			m.Shed("GetStatus", "GRPC_MAX_IN_FLIGHT")
			m.RetryGranted()
			m.RetryDenied("RETRY_DENIAL_COOLDOWN")
			m.OperatorCall("allow_retry", "changed")
			m.Comparison("compared")
			m.ReadRefused("lookup", "API_READS_PER_DAY")
			calls.Started()
			calls.Refused("CALLER_SHARE_PERCENT")
			calls.Ended("UNIMPLEMENTED", time.Millisecond, 10, 0)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return page.Listener.Addr().String()
}

// TestDashboardQueriesHaveData: a Prometheus evaluates every query of the dashboard, and each query has a result if every metric
// has a value. It also evaluates the expressions of the alerts.
func TestDashboardQueriesHaveData(t *testing.T) {
	need(t, "prometheus", "prometheus")
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40)) // without a limit the panel shows none
	// All rules in one file, evaluated once a second like the queries.
	rules, file := ruleGroups{Groups: slices.Concat(readGroups(t, "alerts.yml").Groups, readGroups(t, "burn.yml").Groups)}, filepath.Join(t.TempDir(), "rules.yml")
	for i := range rules.Groups {
		rules.Groups[i].Interval = ""
	}
	writeYAML(t, file, rules)
	p := startPrometheus(t, file, map[string]string{"verification-status-0": everyMetric(t)})
	for _, panel := range readDashboard(t) {
		for _, target := range panel.Targets {
			await(t, panel.Title+": "+target.Expr, func() bool { return len(p.query(rated(target.Expr))) > 0 })
		}
	}
	_, marks := readDashboardAndMarks(t)
	for _, m := range marks {
		await(t, m.Name+": "+m.Expr, func() bool { return len(p.query(rated(m.Expr))) > 0 })
	}
	for _, a := range readAlerts(t) {
		p.query(a.Expr)
	}
	// Relabelling keeps the pod once, under its name, although the pod has two ports.
	if up := p.query("up"); len(up) != 1 || up[0].labels["instance"] != "verification-status-0" || up[0].labels["namespace"] != "production" {
		t.Errorf("targets: %v", up)
	}
}

// TestDeploymentsAreMarked: a version that was not there five minutes ago is marked in every panel, also one that was there before and
// comes back. A restart marks nothing, and each installation has marks of its own.
func TestDeploymentsAreMarked(t *testing.T) {
	_, marks := readDashboardAndMarks(t)
	if len(marks) != 1 || marks[0].Name != "Deployments" || !marks[0].Enable || marks[0].Datasource.UID != "${datasource}" {
		t.Fatalf("marks %+v", marks)
	}
	const build = `verification_build_info{job="verification-status",namespace="%s",instance="%s",version="%s",revision="%s"}`
	type test = map[string]any
	marked := func(at string, labels ...string) test {
		samples := []test{}
		for _, l := range labels {
			samples = append(samples, test{"labels": l, "value": 1})
		}
		return test{"expr": rated(marks[0].Expr), "eval_time": at, "exp_samples": samples}
	}
	const first, second = `{namespace="production",version="v1",revision="a"}`, `{namespace="production",version="v2",revision="b"}`
	file := filepath.Join(t.TempDir(), "marks_test.yml")
	writeYAML(t, file, test{"evaluation_interval": "1m", "tests": []test{{
		"interval": "1m",
		"input_series": []test{
			{"series": fmt.Sprintf(build, "production", "p0", "v1", "a"), "values": "1x20 stale _x19 1x40"},
			{"series": fmt.Sprintf(build, "production", "p1", "v2", "b"), "values": "_x20 1x20 stale"},
			{"series": fmt.Sprintf(build, "staging", "s0", "v2", "b"), "values": "1x30 stale 1x50"},
		},
		"promql_expr_test": []test{
			marked("15m"), marked("22m", second), marked("28m"), marked("33m"), marked("43m", first), marked("50m"),
		},
	}}})
	promtool(t, "test", "rules", file)
}
