package deploy

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// healthy are the series of an installation that is well and has far more traffic than those of the tests: it must neither fire an alert nor
// keep one of another installation from firing. It has every metric that an alert asks for.
var healthy = []series{
	{`up{}`, "1x600"}, {`verification_ready{}`, "1x600"}, {`process_start_time_seconds{}`, "100x600"},
	{`verification_redis_misconfigured{reason="eviction"}`, "0x600"},
	{`verification_webhooks_total{status="200",reason="applied"}`, "0+60000x600"},
	{`verification_webhooks_total{status="503",reason="apply_failed"}`, "0x600"},
	{`verification_webhooks_total{status="400",reason="wrong_signature"}`, "0x600"},
	{`verification_webhooks_total{status="503",reason="no_key"}`, "0x600"},
	{`verification_webhook_duration_seconds_bucket{le="1"}`, "0+60000x600"}, {`verification_webhook_duration_seconds_bucket{le="+Inf"}`, "0+60000x600"},
	{`verification_thin_without_snapshot_total{}`, "0x600"},
	{`verification_event_age_seconds_bucket{le="300"}`, "0+60000x600"}, {`verification_event_age_seconds_bucket{le="+Inf"}`, "0+60000x600"},
	{`grpc_server_call_duration_seconds_count{grpc_method="verification.v1.VerificationService/GetStatus",grpc_status="OK"}`, "0+600000x600"},
	{`grpc_server_call_duration_seconds_count{grpc_method="verification.v1.VerificationService/GetStatus",grpc_status="UNAVAILABLE"}`, "0x600"},
	{`grpc_server_call_duration_seconds_bucket{grpc_method="verification.v1.VerificationService/GetStatus",le="1"}`, "0+600000x600"},
	{`grpc_server_call_duration_seconds_bucket{grpc_method="verification.v1.VerificationService/GetStatus",le="+Inf"}`, "0+600000x600"},
	{`verification_redis_memory_used_bytes{node="master"}`, "100x600"}, {`verification_redis_memory_max_bytes{node="master"}`, "100000x600"},
	{`verification_redis_evicted_keys_total{node="master"}`, "0x600"},
	{`verification_feed_lag_seconds{}`, "0.1x600"}, {`verification_feed_rewinds_total{}`, "0x600"},
	{`verification_missed_events_total{}`, "0x600"}, {`verification_endpoint_problem{problem="disabled"}`, "0x600"},
	{`verification_catch_up_last_done_timestamp_seconds{}`, "0+60x600"}, {`verification_catch_up_interval_seconds{}`, "86400x600"},
	{`verification_catch_up_behind_since_timestamp_seconds{account="acct_1"}`, "0+60x600"},
	{`verification_stripe_calls_total{operation="retrieve",outcome="ok"}`, "0+60000x600"},
	{`verification_stripe_calls_total{operation="retrieve",outcome="unavailable"}`, "0x600"},
	{`verification_stripe_reads_left{}`, "1000000x600"}, {`verification_stripe_reads_per_day{}`, "1000000x600"},
	{`verification_stripe_budget_refused_calls_total{grpc_method="verification.v1.VerificationService/GetStatus",limit="API_READS_PER_DAY"}`, "0x600"},
	{`verification_doubts_total{outcome="pending"}`, "0x600"},
	{`verification_shed_total{what="GetStatus",limit="CALLER_RATE"}`, "0x600"},
	{`verification_file_reloads_total{file="GRPC_TOKENS_FILE",result="refused"}`, "0x600"},
	{`verification_tls_certificate_not_before_timestamp_seconds{}`, "0x600"}, {`verification_tls_certificate_expiry_timestamp_seconds{}`, "7776000x600"},
	{`verification_watch_streams{kind="session"}`, "18000x600"}, {`verification_watch_streams_max{}`, "1000000x600"},
	{`verification_consumer_lag_seconds{consumer="mailer"}`, "0x600"}, {`verification_consumer_pending{consumer="mailer"}`, "1x600"},
	{`verification_watches_ended_total{kind="all",code="NotFound"}`, "2x600"},
	{`verification_consumer_active{consumer="mailer"}`, "1x600"}, {`verification_consumer_expired{consumer="mailer"}`, "0x600"},
	{`verification_feed_max_age_seconds{}`, "31536000x600"}, {`verification_feed_max_changes{}`, "160000000x600"},
}

// in returns a series of an installation. Without a namespace the series is unchanged.
func (s series) in(namespace string) series {
	if namespace != "" {
		s.Series = strings.Replace(s.Series, "{", fmt.Sprintf(`{namespace=%q,`, namespace), 1)
		s.Series = strings.Replace(s.Series, ",}", "}", 1)
	}
	return s
}

// TestEachInstallationHasItsAlerts runs every case of the alerts' tests again with a second installation, which is well: each alert fires for
// the installation of the case as if it were alone, and for no other one. One of the two may have no namespace.
func TestEachInstallationHasItsAlerts(t *testing.T) {
	promtoolPath, dir := need(t, "promtool", "prometheus"), t.TempDir()
	args := []string{"test", "rules"}
	for _, name := range []string{"alerts_test.yml", "burn_test.yml"} {
		tests := readRuleTests(t, name)
		for i, test := range tests.Tests {
			if len(test.Series) == 0 || len(test.Alerts) == 0 || strings.Contains(test.Series[0].Series, "namespace=") {
				continue // an installation that Prometheus has never found; not about alerts; two installations already
			}
			// Only the rules of the case: all of them would take a minute.
			var rules []string
			for _, a := range test.Alerts {
				if !slices.Contains(rules, a.Alert) {
					rules = append(rules, a.Alert)
				}
			}
			file := filepath.Join(dir, fmt.Sprintf("%d_%s", i, name))
			groups := only(readGroups(t, tests.RuleFiles[0]), rules)
			writeYAML(t, file, groups)
			again := ruleTests{RuleFiles: []string{filepath.Base(file)}, Evaluate: tests.Evaluate, Order: tests.Order}
			for _, pair := range [][2]string{{"production", "staging"}, {"staging", ""}, {"", "staging"}} {
				again.Tests = append(again.Tests, test.beside(pair[0], pair[1], askedFor(groups)))
			}
			writeYAML(t, file+".test.yml", again)
			args = append(args, file+".test.yml")
		}
	}
	if text, err := exec.Command(promtoolPath, args...).CombinedOutput(); err != nil {
		for _, file := range strings.Split(string(text), "Unit Testing:") {
			if !strings.Contains(file, "SUCCESS") {
				t.Errorf("%v\n%s", err, file)
			}
		}
	}
}

// askedFor returns the metrics that rules select.
func askedFor(groups ruleGroups) map[string]bool {
	metrics := map[string]bool{}
	for _, group := range groups.Groups {
		for _, r := range group.Rules {
			for _, selector := range selectorPattern.FindAllStringSubmatch(r.Expr, -1) {
				metrics[selector[1]] = true
			}
		}
	}
	return metrics
}

// beside returns the case with its series in one namespace, and those series of the healthy installation that have the given metrics in another
// namespace.
func (test rulesTest) beside(down, well string, metrics map[string]bool) rulesTest {
	two := rulesTest{Interval: test.Interval}
	for _, s := range test.Series {
		two.Series = append(two.Series, s.in(down))
	}
	for _, s := range healthy {
		if name, _, _ := strings.Cut(s.Series, "{"); !metrics[name] {
			continue
		}
		s.Series = strings.Replace(s.Series, "{", `{job="verification-status",instance="well",`, 1)
		s.Series = strings.Replace(s.Series, ",}", "}", 1)
		two.Series = append(two.Series, s.in(well))
	}
	for _, a := range test.Alerts {
		fires := slices.Clone(a.Fires)
		for i, f := range fires {
			fires[i].Labels = maps.Clone(f.Labels)
			if down != "" {
				fires[i].Labels["namespace"] = down
			}
		}
		two.Alerts = append(two.Alerts, alertTest{At: a.At, Alert: a.Alert, Fires: fires})
	}
	return two
}

// only leaves the alerts of these names, and what is recorded.
func only(groups ruleGroups, alerts []string) ruleGroups {
	for i, group := range groups.Groups {
		groups.Groups[i].Rules = slices.DeleteFunc(slices.Clone(group.Rules), func(r rule) bool {
			return r.Alert != "" && !slices.Contains(alerts, r.Alert)
		})
	}
	return groups
}

// The healthy installation has what each alert asks for, and shows that installations are kept apart by what it does not fire.
func TestHealthyInstallationIsWhole(t *testing.T) {
	has := map[string]bool{}
	for _, s := range healthy {
		name, _, _ := strings.Cut(s.Series, "{")
		has[name] = true
	}
	for _, a := range append(readRules(t, "alerts.yml"), readRules(t, "burn.yml")...) {
		for _, selector := range selectorPattern.FindAllStringSubmatch(a.Expr, -1) {
			if !has[selector[1]] {
				t.Errorf("%s: the healthy installation has no %s", a.where(), selector[1])
			}
		}
	}
}
