package telemetry

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// every calls each method once.
func every(m *Metrics) {
	m.Gauge("verification_ready", func() float64 { return 1 })
	m.Gauge("verification_stripe_reads_left", func() float64 { return 4999 })
	m.Gauge("verification_stripe_reads_per_day", func() float64 { return 5000 })
	m.GaugeFor("verification_stripe_reads_left_by_purpose", "lookup", func() float64 { return 2499 })
	m.GaugeFor("verification_stripe_reads_left_by_purpose", "retry", func() float64 { return 4999 })
	m.ReadRefused("lookup", "API_READS_PER_DAY")
	m.NoReadRefused("retry", "CALLER_SHARE_PERCENT")
	m.NoCallRefused("verification.v1.VerificationService/GetStatus", "API_READS_PER_DAY")
	m.Gauge("verification_tls_certificate_not_before_timestamp_seconds", func() float64 { return 1_780_000_000 })
	m.Gauge("verification_tls_certificate_expiry_timestamp_seconds", func() float64 { return 1_790_000_000 })
	m.Gauge("verification_catch_up_interval_seconds", func() float64 { return 900 })
	m.Gauge("verification_watch_streams_max", func() float64 { return 20000 })
	m.Gauge("verification_feed_lag_seconds", func() float64 { return 0.5 })
	m.Gauge("verification_feed_max_age_seconds", func() float64 { return 604800 })
	m.Gauge("verification_feed_max_changes", func() float64 { return 1600000 })
	m.Consumers([]ConsumerState{{Name: "mailer", Lag: 1500 * time.Millisecond, Pending: 7, Active: true, Expired: true}})
	m.Counter("verification_memory_hits_total", func() float64 { return 8 })
	m.Counter("verification_memory_misses_total", func() float64 { return 9 })
	m.Webhook(200, "applied", "identity.verification_session.verified", 2, 3*time.Millisecond, 4*time.Second)
	m.Webhook(200, "duplicate", "identity.verification_session.verified", 0, time.Millisecond, -1)
	m.Commit("committed", 3, 2*time.Millisecond)
	m.Commit("unavailable", 0, time.Second)
	m.Doubt("settled")
	m.ReadThrough("found")
	m.StripeCall("retrieve", "ok")
	m.CatchUp("done", time.Unix(1_790_000_000, 0), 2, 1, 3, 4)
	m.CatchUp("failed", time.Time{}, 1, 0, 0, 0)
	m.CatchUpBehind([]BehindAccount{{"acct_1", time.Unix(1_790_000_000, 0)}})
	m.FeedRewound()
	m.RedisMisconfigured("eviction", true)
	m.RedisServers([]RedisServer{{Node: "master", UsedMemory: 7 << 20, MaxMemory: 100 << 20, EvictedKeys: 3, Policy: "noeviction"}}, time.Now())
	m.EndpointProblem("disabled", true)
	m.WatchOpened("session", true)
	m.WatchOpened("session", false)
	m.WatchEnded("session", "OutOfRange")
	m.WatchSent("session")
	m.RetryGranted()
	m.RetryDenied("RETRY_DENIAL_COOLDOWN")
	m.OperatorCall("resolve", "changed")
	m.Comparison("compared")
	m.FileReloaded("STRIPE_API_KEY_FILE", true)
	m.FileReloaded("STRIPE_API_KEY_FILE", false)
	m.FileWatched("REDIS_URL_FILE")
	m.Shed("GetStatus", "GRPC_MAX_IN_FLIGHT")
	m.CallRefused("ERROR_REASON_UNAUTHENTICATED")
	method := m.Method("grpc.health.v1.Health/Check")
	method.Started()
	method.Refused("CALLER_SHARE_PERCENT")
	method.Ended("OK", time.Millisecond, 10, 20)
	method.Ended("UNAVAILABLE", time.Millisecond, 10, 0)
}

// The metrics that are served are those of the table and no others, each with its kind, labels and
// help.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	m := NewMetrics()
	every(m)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, family := range families {
		name := family.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		slices.Sort(labels)
		got[name] = fmt.Sprint(strings.ToLower(family.GetType().String()), labels, family.GetHelp())
	}
	for _, d := range MetricTable() {
		labels := slices.Clone(d.Labels)
		slices.Sort(labels)
		if want := fmt.Sprint(d.Kind, labels, d.Help); got[d.Name] != want {
			t.Errorf("%s is %q, the table says %q", d.Name, got[d.Name], want)
		}
		delete(got, d.Name)
	}
	for name := range got {
		t.Errorf("the table lacks %s", name)
	}
}

func TestMetricNames(t *testing.T) {
	for _, d := range ownMetrics {
		if !strings.HasPrefix(d.Name, "verification_") || (d.Kind == "counter") != strings.HasSuffix(d.Name, "_total") || !strings.HasSuffix(d.Help, ".") {
			t.Errorf("%+v", d)
		}
	}
}

// metricsPage returns what Prometheus reads.
func metricsPage(m *Metrics) string {
	page := httptest.NewRecorder()
	m.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	return page.Body.String()
}

func TestMetricValues(t *testing.T) {
	m := NewMetrics()
	every(m)
	text := metricsPage(m)
	for _, want := range []string{
		`verification_webhooks_total{reason="applied",status="200",type="identity.verification_session.verified"} 1`,
		`verification_webhook_duration_seconds_count 2`,
		`verification_event_age_seconds_count 1`,
		`verification_event_age_seconds_sum 4`,
		`verification_commit_duration_seconds_count{result="committed"} 1`,
		`verification_commit_duration_seconds_sum{result="unavailable"} 1`,
		`verification_commit_tries_sum 3`,
		`verification_commit_tries_count 1`,
		`verification_commit_conflicts_total 2`,
		`verification_catch_ups_total{result="done"} 1`,
		`verification_catch_up_last_done_timestamp_seconds 1.79e+09`,
		`verification_catch_up_behind_accounts 1`,
		`verification_catch_up_behind_since_timestamp_seconds{account="acct_1"} 1.79e+09`,
		`verification_missed_events_total 3`,
		`verification_reread_sessions_total{outcome="unchanged"} 3`,
		`verification_reread_sessions_total{outcome="unknown"} 4`,
		`verification_stripe_reads_left 4999`,
		`verification_tls_certificate_not_before_timestamp_seconds 1.78e+09`,
		`verification_tls_certificate_expiry_timestamp_seconds 1.79e+09`,
		`verification_catch_up_interval_seconds 900`,
		`verification_watch_streams_max 20000`,
		`verification_stripe_reads_per_day 5000`,
		`verification_stripe_reads_left_by_purpose{purpose="lookup"} 2499`,
		`verification_stripe_reads_left_by_purpose{purpose="retry"} 4999`,
		`verification_stripe_budget_refused_reads_total{limit="API_READS_PER_DAY",purpose="lookup"} 1`,
		`verification_stripe_budget_refused_reads_total{limit="CALLER_SHARE_PERCENT",purpose="retry"} 0`,
		`verification_stripe_budget_refused_calls_total{grpc_method="verification.v1.VerificationService/GetStatus",limit="API_READS_PER_DAY"} 0`,
		`verification_stripe_budget_refused_calls_total{grpc_method="grpc.health.v1.Health/Check",limit="CALLER_SHARE_PERCENT"} 1`,
		`verification_feed_lag_seconds 0.5`,
		`verification_feed_max_age_seconds 604800`,
		`verification_feed_max_changes 1.6e+06`,
		`verification_consumer_lag_seconds{consumer="mailer"} 1.5`,
		`verification_consumer_pending{consumer="mailer"} 7`,
		`verification_consumer_active{consumer="mailer"} 1`,
		`verification_consumer_expired{consumer="mailer"} 1`,
		`verification_memory_hits_total 8`,
		`verification_memory_misses_total 9`,
		`verification_redis_memory_used_bytes{node="master"} 7.340032e+06`,
		`verification_redis_memory_max_bytes{node="master"} 1.048576e+08`,
		`verification_redis_evicted_keys_total{node="master"} 3`,
		`verification_redis_maxmemory_policy{node="master",policy="noeviction"} 1`,
		`verification_watch_streams{kind="session"} 1`,
		`verification_watches_opened_total{kind="session",resumed="true"} 1`,
		`verification_watches_ended_total{code="OutOfRange",kind="session"} 1`,
		`verification_file_reloads_total{file="REDIS_URL_FILE",result="refused"} 0`,
		`verification_file_reloads_total{file="STRIPE_API_KEY_FILE",result="refused"} 1`,
		`verification_shed_total{limit="GRPC_MAX_IN_FLIGHT",what="GetStatus"} 1`,
		`verification_retries_denied_total{reason="RETRY_DENIAL_COOLDOWN"} 1`,
		`verification_comparisons_total{outcome="compared"} 1`,
		`verification_operator_calls_total{operation="resolve",outcome="changed"} 1`,
		`grpc_server_call_started_total{grpc_method="grpc.health.v1.Health/Check"} 1`,
		`grpc_server_call_duration_seconds_count{grpc_method="grpc.health.v1.Health/Check",grpc_status="OK"} 1`,
		`grpc_server_call_rcvd_total_compressed_message_size_bytes_sum{grpc_method="grpc.health.v1.Health/Check",grpc_status="UNAVAILABLE"} 10`,
		`grpc_server_call_sent_total_compressed_message_size_bytes_sum{grpc_method="grpc.health.v1.Health/Check",grpc_status="OK"} 20`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// A bounded number of accounts is shown by name, and only while they are behind.
func TestAccountsThatAreBehind(t *testing.T) {
	m := NewMetrics()
	text := func() string { return metricsPage(m) }
	var many []BehindAccount
	for n := range 1000 {
		many = append(many, BehindAccount{fmt.Sprint("acct_", n), time.Unix(int64(n), 0)})
	}
	const series = "verification_catch_up_behind_since_timestamp_seconds{"
	for _, step := range []struct{ behind, named int }{{0, 0}, {2, 2}, {1000, maxBehind}, {1, 1}, {0, 0}} {
		m.CatchUpBehind(many[:step.behind])
		got := text()
		if n := strings.Count(got, series); n != step.named || !strings.Contains(got, fmt.Sprintf("verification_catch_up_behind_accounts %d\n", step.behind)) {
			t.Errorf("%d are behind: %d are named, want %d", step.behind, n, step.named)
		}
	}
}

// Only the consumers of the last call are shown, with its values.
func TestConsumersThatAreShown(t *testing.T) {
	m := NewMetrics()
	for _, step := range []struct {
		consumers []ConsumerState
		want      []string // the series, in any order
	}{
		{nil, nil},
		{[]ConsumerState{{Name: "a", Lag: time.Minute, Pending: 3, Active: true}, {Name: "b", Expired: true}}, []string{
			`lag_seconds{consumer="a"} 60`, `pending{consumer="a"} 3`, `active{consumer="a"} 1`, `expired{consumer="a"} 0`,
			`lag_seconds{consumer="b"} 0`, `pending{consumer="b"} 0`, `active{consumer="b"} 0`, `expired{consumer="b"} 1`,
		}},
		{[]ConsumerState{{Name: "b", Pending: 1}}, []string{
			`lag_seconds{consumer="b"} 0`, `pending{consumer="b"} 1`, `active{consumer="b"} 0`, `expired{consumer="b"} 0`,
		}},
		{nil, nil},
	} {
		m.Consumers(step.consumers)
		var got []string
		for line := range strings.Lines(metricsPage(m)) {
			if series, found := strings.CutPrefix(line, "verification_consumer_"); found {
				got = append(got, strings.TrimSpace(series))
			}
		}
		slices.Sort(got)
		slices.Sort(step.want)
		if !slices.Equal(got, step.want) {
			t.Errorf("%+v: series\n%s\nwant\n%s", step.consumers, strings.Join(got, "\n"), strings.Join(step.want, "\n"))
		}
	}
}
