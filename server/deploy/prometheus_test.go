package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"example.com/verification-status/server/internal/testing/address"
)

// soon bounds a wait that is short if nothing is wrong.
const soon = 60 * time.Second

// need returns the path of a program. If it is not installed, the test is skipped, or fails if CI is set in the environment.
func need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	return needFrom(t, program, "apt-get install "+debianPackage)
}

// needFrom is need for a program that another command installs.
func needFrom(t testing.TB, program, install string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	text := fmt.Sprintf("%s is not installed: %s, then go test -count=1", program, install)
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// scrapeConfig is prometheus.yml with targets in place of Kubernetes, which Debian's Prometheus does not
// know, labelled as Kubernetes would label them.
func scrapeConfig(t *testing.T, rules string, targets map[string]string) map[string]any {
	t.Helper()
	var settings map[string]any
	text, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &settings); err != nil {
		t.Fatal(err)
	}
	settings["rule_files"] = []string{rules}
	settings["global"] = map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"}
	scrape := settings["scrape_configs"].([]any)[0].(map[string]any)
	delete(scrape, "kubernetes_sd_configs")
	var static []any
	for name, addr := range targets {
		for _, port := range []string{"admin", "webhook"} { // only the first is to be kept
			static = append(static, map[string]any{"targets": []string{addr}, "labels": map[string]string{
				"__meta_kubernetes_pod_label_app_kubernetes_io_name": "verification-status",
				"__meta_kubernetes_pod_container_port_name":          port,
				"__meta_kubernetes_pod_name":                         name, "__meta_kubernetes_namespace": "production",
			}})
		}
	}
	scrape["static_configs"] = static
	return settings
}

func writeYAML(t *testing.T, file string, v any) {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// prometheus is a process of Debian's Prometheus that scrapes once a second.
type prometheus struct {
	t    testing.TB
	url  string
	http *http.Client
}

func startPrometheus(t *testing.T, rules string, targets map[string]string) *prometheus {
	t.Helper()
	program, dir := need(t, "prometheus", "prometheus"), t.TempDir()
	addr := address.Free(t)
	settings := filepath.Join(dir, "prometheus.yml")
	writeYAML(t, settings, scrapeConfig(t, rules, targets))
	cmd := exec.Command(program, "--config.file="+settings, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus wrote:\n%s", output.String())
		}
	})
	p := &prometheus{t: t, url: "http://" + addr, http: client}
	await(t, "prometheus is ready", func() bool {
		response, err := p.http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// sample is one value of an answer. Answers omit values that are infinite or not a number.
type sample struct {
	labels map[string]string
	value  float64
}

// query returns the result of an expression at the present time.
func (p *prometheus) query(expr string) []sample {
	p.t.Helper()
	response, err := p.http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" || answer.Data.ResultType != "vector" {
		p.t.Fatalf("%s: %v %+v", expr, err, answer)
	}
	var samples []sample
	for _, result := range answer.Data.Result {
		value, err := strconv.ParseFloat(result.Value[1].(string), 64)
		if err == nil && value-value == 0 { // finite
			samples = append(samples, sample{result.Metric, value})
		}
	}
	return samples
}

// value returns the value of an expression that has exactly one.
func (p *prometheus) value(expr string) (value float64, found bool) {
	p.t.Helper()
	samples := p.query(expr)
	if len(samples) != 1 {
		return 0, false
	}
	return samples[0].value, true
}

// state returns "firing", "pending" or "inactive".
func (p *prometheus) state(alert string) string {
	p.t.Helper()
	state := "inactive"
	for _, s := range p.query(`ALERTS{alertname="` + alert + `"}`) {
		if state = s.labels["alertstate"]; state == "firing" {
			break
		}
	}
	return state
}

// await calls done until it returns true, and fails the test after soon.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(need(t, "promtool", "prometheus"), args...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

func TestPrometheusConfigIsValid(t *testing.T) {
	rules, err := filepath.Abs("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	writeYAML(t, file, scrapeConfig(t, rules, map[string]string{"a": "127.0.0.1:1"}))
	promtool(t, "check", "config", "--lint-fatal", file)
	text, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil || !regexp.MustCompile(`(?m)^rule_files:\n  - alerts\.yml\n  - burn\.yml$`).Match(text) {
		t.Errorf("prometheus.yml does not load alerts.yml and burn.yml: %v", err)
	}
}
