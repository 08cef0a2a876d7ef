package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/webhook"
)

// panel is a panel of the dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ Type, UID string }
	Targets                  []struct{ Expr, LegendFormat, RefID string }
}

// variable is a variable of the dashboard.
type variable struct {
	Name, Type, AllValue string
	IncludeAll, Multi    bool
	Query                any // text, or an object with a query
}

// mark is an expression that has a value where the dashboard marks a time in every panel.
type mark struct {
	Name, Expr, TitleFormat, TextFormat string
	Datasource                          struct{ Type, UID string }
	Enable                              bool
}

func readDashboard(t testing.TB) (panels []panel) {
	t.Helper()
	panels, _ = readDashboardAndMarks(t)
	return panels
}

func readDashboardAndMarks(t testing.TB) (panels []panel, marks []mark) {
	t.Helper()
	text, err := os.ReadFile("grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title, UID  string
		Panels      []panel
		Templating  struct{ List []variable }
		Annotations struct{ List []mark }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := dashboard.Templating.List
	if dashboard.Title == "" || dashboard.UID == "" || len(variables) != 3 || variables[0].Name != "datasource" || variables[0].Query != "prometheus" {
		t.Fatalf("dashboard %q %q with the variables %+v", dashboard.Title, dashboard.UID, variables)
	}
	// All of them is also what has no such label: an installation of one process.
	for i, name := range []string{"namespace", "instance"} {
		if v := variables[i+1]; v.Name != name || v.Type != "query" || !v.IncludeAll || v.AllValue != ".*" || !v.Multi {
			t.Errorf("variable %+v; want %s, with all of them as .*", v, name)
		}
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" {
			panels = append(panels, p)
		}
	}
	if len(panels) < 10 {
		t.Fatalf("%d panels", len(panels))
	}
	return panels, dashboard.Annotations.List
}

// expressions returns every shipped PromQL expression, by the alert or panel that has it.
func expressions(t testing.TB) map[string]string {
	all := map[string]string{}
	for _, r := range slices.Concat(readRules(t, "alerts.yml"), readRules(t, "burn.yml")) {
		all[r.where()] = r.Expr
	}
	panels, marks := readDashboardAndMarks(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	for _, m := range marks {
		all["panel of the mark "+m.Name] = m.Expr
	}
	return all
}

var (
	selectorPattern = regexp.MustCompile(`\b(up|[a-z]+_[a-z_]+)\{([^}]*)\}`)
	matcherPattern  = regexp.MustCompile(`^([a-z_]+)(=|!=|=~|!~)"([^"]*)"$`)
	groupingPattern = regexp.MustCompile(`\bby \(([^)]*)\)`)
	// namePattern is any name of a metric, also one without a selector.
	namePattern = regexp.MustCompile(`\b(verification|grpc|process|go)_[a-z_]+\b`)
	// recordedPattern is the name of a rule's result.
	recordedPattern = regexp.MustCompile(`\bslo:[a-z0-9_:]+`)
)

// labelsOf returns the labels of every metric that an expression can name. A histogram has three names.
func labelsOf() map[string][]string {
	always := []string{"job", "namespace", "instance"}
	known := map[string][]string{"up": always, "process_start_time_seconds": always, "process_resident_memory_bytes": always,
		"process_cpu_seconds_total": always, "go_goroutines": always, "go_memstats_sys_bytes": always, "go_memstats_heap_released_bytes": always,
		"go_memstats_heap_alloc_bytes": always, "go_gc_gomemlimit_bytes": always, "go_gc_duration_seconds_count": always}
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
	"verification_watches_ended_total kind":     {string(rpc.WatchSession), string(rpc.WatchReference), string(rpc.WatchAll)},
	"verification_watches_ended_total code":     {codes.NotFound.String()},
	"verification_doubts_total outcome":         {"pending", "settled"},
	"verification_file_reloads_total result":    {"used", "refused"},

	"verification_stripe_budget_refused_calls_total limit": {"API_READS_PER_DAY", "CALLER_SHARE_PERCENT"},
}

// Every metric in an expression is a metric of the server, with the labels and values of the expression.
func TestExpressionsNameMetricsOfTheServer(t *testing.T) {
	known := labelsOf()
	recorded := map[string]bool{}
	for _, r := range readRules(t, "burn.yml") {
		recorded[r.Record] = true
	}
	for where, expr := range expressions(t) {
		for _, name := range recordedPattern.FindAllString(expr, -1) {
			if !recorded[name] {
				t.Errorf("%s: no rule records %s", where, name)
			}
		}
		if strings.Contains(expr, "slo:") {
			continue // sloth's own labels
		}
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
				} else if !slices.Contains([]string{"job", "namespace", "instance", "status", "grpc_method", "grpc_status"}, matcher[1]) {
					t.Errorf("%s: say in valuesOf what %s of %s can be", where, matcher[1], name)
				}
			}
			if strings.HasPrefix(where, "panel ") && matchers["namespace"] != "$namespace" {
				t.Errorf("%s: %s of installations that are not chosen", where, name)
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
