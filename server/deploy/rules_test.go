package deploy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// rule is a rule of Prometheus: an alert, or a result that is recorded.
type rule struct {
	Alert       string            `yaml:"alert,omitempty"`
	Record      string            `yaml:"record,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// where names a rule: rules with the same name differ in their severity or objective.
func (r rule) where() string {
	if r.Record != "" {
		return "rule " + r.Record + " " + r.Labels["sloth_slo"]
	}
	return "alert " + r.Alert + " " + r.Labels["severity"]
}

type ruleGroups struct {
	Groups []struct {
		Name     string `yaml:"name"`
		Interval string `yaml:"interval,omitempty"`
		Rules    []rule `yaml:"rules"`
	} `yaml:"groups"`
}

func readGroups(t testing.TB, name string) (groups ruleGroups) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&groups); err != nil {
		t.Fatal(err)
	}
	if len(groups.Groups) == 0 {
		t.Fatalf("%s has no rules", name)
	}
	return groups
}

func readRules(t testing.TB, name string) (rules []rule) {
	t.Helper()
	for _, group := range readGroups(t, name).Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

// readAlerts returns the alerts of alerts.yml and burn.yml. Two of them can have one name: a page and a ticket.
func readAlerts(t testing.TB) []rule {
	t.Helper()
	all := slices.Concat(readRules(t, "alerts.yml"), readRules(t, "burn.yml"))
	return slices.DeleteFunc(all, func(r rule) bool { return r.Alert == "" })
}

func TestRulesAreValid(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "prometheus/alerts.yml", "prometheus/burn.yml")
}

func TestRulesFireWhenTheyShould(t *testing.T) {
	promtool(t, "test", "rules", "prometheus/alerts_test.yml", "prometheus/burn_test.yml")
}

// ruleTests is a file of promtool's tests.
type ruleTests struct {
	RuleFiles []string    `yaml:"rule_files"`
	Evaluate  string      `yaml:"evaluation_interval"`
	Order     []string    `yaml:"group_eval_order,omitempty"`
	Tests     []rulesTest `yaml:"tests"`
}

type rulesTest struct {
	Interval string      `yaml:"interval"`
	Series   []series    `yaml:"input_series"`
	Alerts   []alertTest `yaml:"alert_rule_test,omitempty"`
	Exprs    []any       `yaml:"promql_expr_test,omitempty"`
}

type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertTest struct {
	At    string        `yaml:"eval_time"`
	Alert string        `yaml:"alertname"`
	Fires []firingAlert `yaml:"exp_alerts,omitempty"`
}

type firingAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func readRuleTests(t *testing.T, name string) (tests ruleTests) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&tests); err != nil {
		t.Fatal(err)
	}
	return tests
}

// Every alert is shown firing with each of its severities, and quiet. TestEachInstallationHasItsAlerts repeats these cases for two
// installations, so no alert lacks that either.
func TestEveryAlertIsTested(t *testing.T) {
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, name := range []string{"alerts_test.yml", "burn_test.yml"} {
		for _, test := range readRuleTests(t, name).Tests {
			for _, a := range test.Alerts {
				quiet[a.Alert] = quiet[a.Alert] || len(a.Fires) == 0
				for _, f := range a.Fires {
					fires[a.Alert+" "+f.Labels["severity"]] = len(test.Series) > 0
				}
			}
		}
	}
	for _, a := range readAlerts(t) {
		if !fires[a.Alert+" "+a.Labels["severity"]] || !quiet[a.Alert] {
			t.Errorf("%s: shown firing %t, quiet %t", a.where(), fires[a.Alert+" "+a.Labels["severity"]], quiet[a.Alert])
		}
	}
}

// The rules of the Prometheus Operator are those of Prometheus. prometheus/generate writes them.
func TestOperatorHasTheSameRules(t *testing.T) {
	var operator struct {
		object `yaml:",inline"`
		Spec   ruleGroups `yaml:"spec"`
	}
	decode(t, "operator/prometheusrule.yaml", func(string) any { return &operator })
	if operator.APIVersion != "monitoring.coreos.com/v1" || operator.Kind != "PrometheusRule" {
		t.Errorf("%s %s", operator.APIVersion, operator.Kind)
	}
	want := ruleGroups{Groups: slices.Concat(readGroups(t, "alerts.yml").Groups, readGroups(t, "burn.yml").Groups)}
	if diff := cmp.Diff(want, operator.Spec); diff != "" {
		t.Errorf("not the rules of alerts.yml and burn.yml; run server/deploy/prometheus/generate (-want +got):\n%s", diff)
	}
}

// burn.yml was generated from objectives.yml as it is.
func TestObjectivesAreGenerated(t *testing.T) {
	objectives, err1 := os.ReadFile("prometheus/objectives.yml")
	burn, err2 := os.ReadFile("prometheus/burn.yml")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\n# objectives.yml: %x\n", sha256.Sum256(objectives)); !strings.HasSuffix(string(burn), want) {
		t.Error("burn.yml is not of this objectives.yml: run server/deploy/prometheus/generate")
	}
}

var (
	aggregationPattern = regexp.MustCompile(`\b(sum|min|max|avg|count|group|topk|quantile)\b(?: by \(([^)]*)\))? ?\(`)
	matchingPattern    = regexp.MustCompile(`\bon ?\(([^)]*)\)`)
)

// No expression adds up two installations, or compares one with another one.
func TestExpressionsKeepInstallationsApart(t *testing.T) {
	const namespace = "namespace"
	for where, expr := range expressions(t) {
		for _, match := range aggregationPattern.FindAllStringSubmatch(expr, -1) {
			without := match[2] == "" && strings.Contains(expr, ") without (sloth_window)")
			if !slices.Contains(strings.Split(match[2], ", "), namespace) && !without {
				t.Errorf("%s: %q without the label namespace", where, match[0])
			}
		}
		for _, match := range matchingPattern.FindAllStringSubmatch(expr, -1) {
			// An objective is the same for each installation.
			if !slices.Contains(strings.Split(match[1], ", "), namespace) && match[1] != "sloth_id, sloth_slo, sloth_service" {
				t.Errorf("%s: %q without the label namespace", where, match[0])
			}
		}
		if strings.Contains(expr, "vector(0)") {
			t.Errorf("%s: vector(0) is of no installation: use 0 * … by (namespace)", where)
		}
	}
}
