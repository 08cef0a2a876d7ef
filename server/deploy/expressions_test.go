package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/webhook"
)

// alert is a rule of alerts.yml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type ruleGroups struct {
	Groups []struct {
		Name  string  `yaml:"name"`
		Rules []alert `yaml:"rules"`
	} `yaml:"groups"`
}

func readRules(t testing.TB) (groups ruleGroups) {
	t.Helper()
	text, err := os.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&groups); err != nil {
		t.Fatal(err)
	}
	if len(groups.Groups) != 1 || len(groups.Groups[0].Rules) == 0 {
		t.Fatalf("%d groups", len(groups.Groups))
	}
	return groups
}

func readAlerts(t testing.TB) []alert { return readRules(t).Groups[0].Rules }

// panel is a panel of the dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ Type, UID string }
	Targets                  []struct{ Expr, LegendFormat, RefID string }
}

func readDashboard(t testing.TB) (panels []panel) {
	t.Helper()
	text, err := os.ReadFile("grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title, UID string
		Panels     []panel
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := dashboard.Templating.List
	if dashboard.Title == "" || dashboard.UID == "" || len(variables) != 1 || variables[0].Name != "datasource" || variables[0].Query != "prometheus" {
		t.Errorf("dashboard %q %q with the variables %+v", dashboard.Title, dashboard.UID, variables)
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" {
			panels = append(panels, p)
		}
	}
	if len(panels) < 10 {
		t.Fatalf("%d panels", len(panels))
	}
	return panels
}

// expressions returns every shipped PromQL expression, by the alert or panel that has it.
func expressions(t testing.TB) map[string]string {
	all := map[string]string{}
	for _, a := range readAlerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	for _, p := range readDashboard(t) {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	return all
}

var (
	selectorPattern = regexp.MustCompile(`\b([a-z_]+_[a-z_]+)\{([^}]*)\}`)
	matcherPattern  = regexp.MustCompile(`^([a-z_]+)(=|!=|=~|!~)"([^"]*)"$`)
	groupingPattern = regexp.MustCompile(`\bby \(([^)]*)\)`)
	// namePattern is any name of a metric, also one without a selector.
	namePattern = regexp.MustCompile(`\b(verification|grpc|process|go)_[a-z_]+\b`)
)

// labelsOf returns the labels of every metric that an expression can name. A histogram has three names.
func labelsOf() map[string][]string {
	always := []string{"job", "instance"}
	known := map[string][]string{"process_start_time_seconds": always, "process_resident_memory_bytes": always,
		"process_cpu_seconds_total": always, "go_goroutines": always}
	for _, m := range telemetry.MetricTable() {
		labels := slices.Concat(always, m.Labels)
		if m.Kind != "histogram" {
			known[m.Name] = labels
			continue
		}
		known[m.Name+"_count"], known[m.Name+"_sum"], known[m.Name+"_bucket"] = labels, labels, append(labels, "le")
	}
	return known
}

// valuesOf returns the values of the labels that expressions select, from the code that sets them.
var valuesOf = map[string][]string{
	"verification_webhooks_total reason": {string(webhook.ReasonApplied), string(webhook.ReasonDuplicate), string(webhook.ReasonWrongSignature),
		string(webhook.ReasonTooOld), string(webhook.ReasonInFuture), string(webhook.ReasonNoKey), string(webhook.ReasonKeyRefused)},
	"verification_stripe_calls_total outcome": {
		string(stripeapi.OutcomeUnauthorized), string(stripeapi.OutcomeUnavailable), string(stripeapi.OutcomeBudget), string(stripeapi.OutcomeBusy),
	},
	"verification_stripe_calls_total operation": {string(stripeapi.OperationEndpoints), string(stripeapi.OperationDestinations)},
	"verification_doubts_total outcome":         {"pending", "settled"},
	"verification_file_reloads_total result":    {"used", "refused"},
}

// Every metric in an expression is a metric of the server, with the labels and values of the expression.
func TestExpressionsNameMetricsOfTheServer(t *testing.T) {
	known := labelsOf()
	for where, expr := range expressions(t) {
		selected := map[string]bool{}
		var labels []string
		for _, selector := range selectorPattern.FindAllStringSubmatch(expr, -1) {
			name, matchers := selector[1], map[string]string{}
			selected[name] = true
			labels = append(labels, known[name]...)
			for _, text := range strings.Split(selector[2], ",") {
				matcher := matcherPattern.FindStringSubmatch(text)
				if matcher == nil {
					t.Fatalf("%s: %q cannot be read", where, text)
				}
				matchers[matcher[1]] = matcher[3]
				if !slices.Contains(known[name], matcher[1]) {
					t.Errorf("%s: %s has no label %s", where, name, matcher[1])
				}
				if values, found := valuesOf[name+" "+matcher[1]]; found {
					for _, value := range strings.Split(matcher[3], "|") {
						if !slices.Contains(values, value) {
							t.Errorf("%s: %s is never %s=%q", where, name, matcher[1], value)
						}
					}
				} else if !slices.Contains([]string{"job", "status", "grpc_method", "grpc_status"}, matcher[1]) {
					t.Errorf("%s: say in valuesOf what %s of %s can be", where, matcher[1], name)
				}
			}
			if matchers["job"] != "verification-status" {
				t.Errorf("%s: %s of every job", where, name)
			}
		}
		for _, name := range namePattern.FindAllString(expr, -1) {
			if _, found := known[name]; !selected[name] && !slices.Contains([]string{"grpc_method", "grpc_status"}, name) || selected[name] && !found {
				t.Errorf("%s: no metric %s, or one without {job=…}", where, name)
			}
		}
		for _, grouping := range groupingPattern.FindAllStringSubmatch(expr, -1) {
			for _, label := range strings.Split(grouping[1], ", ") {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: grouped by %s, which none of its metrics has", where, label)
				}
			}
		}
	}
}

// The numbers in alerts that are shares of a setting.
func TestAlertsFitTheSettings(t *testing.T) {
	m := readManifests(t)
	for name, want := range map[string]struct {
		setting string
		percent int
	}{
		"VerificationStreamsNearCap": {"GRPC_MAX_STREAMS", 80}, "VerificationStripeBudgetLow": {"API_READS_PER_DAY", 10},
	} {
		most, err := strconv.Atoi(m.setting(t, want.setting))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range readAlerts(t) {
			if bound := strconv.Itoa(most * want.percent / 100); a.Alert == name && !strings.HasSuffix(strings.TrimSpace(a.Expr), " "+bound) {
				t.Errorf("%s: %s; %d %% of %s is %s", name, a.Expr, want.percent, want.setting, bound)
			}
		}
	}
	// The alert waits for four missed catch-ups.
	if interval := m.duration(t, "RECONCILE_INTERVAL"); interval.Seconds()*4 != 3600 {
		t.Errorf("RECONCILE_INTERVAL is %v; VerificationCatchUpStalled and VerificationAccountBehind wait an hour", interval)
	}
}

// Every alert is shown firing and shown quiet in alerts_test.yml.
func TestEveryAlertIsTested(t *testing.T) {
	text, err := os.ReadFile("prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Rules []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, rule := range test.Rules {
			fires[rule.Alert] = fires[rule.Alert] || len(rule.Fires) > 0
			quiet[rule.Alert] = quiet[rule.Alert] || len(rule.Fires) == 0
		}
	}
	for _, a := range readAlerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: shown firing %t, quiet %t", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}
