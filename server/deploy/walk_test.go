package deploy

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// walk records what a person sees that follows the runbook.
type walk struct {
	*world
	prometheus *prometheus
	panels     []panel
	entry      string    // whose commands are run
	began      time.Time // when the fault began
	lines      strings.Builder
}

// newWalk starts a world whose replicas have these settings too, and a Prometheus with these rules.
func newWalk(t *testing.T, entry string, rules string, settings ...string) *walk {
	t.Helper()
	need(t, "prometheus", "prometheus")
	w := &walk{world: newWorld(t, settings...), panels: readDashboard(t), entry: entry}
	w.prometheus = startPrometheus(t, rules, map[string]string{
		"verification-status-0": w.replicas["verification-status-0"].admin,
		"verification-status-1": w.replicas["verification-status-1"].admin,
	})
	return w
}

func (w *walk) record(format string, args ...any) {
	at := " before"
	if !w.began.IsZero() {
		at = fmt.Sprintf("%5.1f s", time.Since(w.began).Seconds())
	}
	fmt.Fprintf(&w.lines, "%s  %s\n", at, fmt.Sprintf(format, args...))
}

// shape returns the lines of a walk without their numbers.
func shape(lines string) string {
	return regexp.MustCompile(`[0-9][0-9.]*(e-[0-9]+)?`).ReplaceAllString(strings.ReplaceAll(lines, " ", ""), "N")
}

// show evaluates every query of the dashboard, and records the values of the named panels.
func (w *walk) show(titles ...string) map[string]float64 {
	w.t.Helper()
	shown := map[string]float64{}
	for _, p := range w.panels {
		for _, target := range p.Targets {
			if samples := w.prometheus.query(rated(target.Expr)); len(samples) == 1 {
				shown[p.Title] = samples[0].value
			}
		}
	}
	var line []string
	for _, title := range titles {
		line = append(line, fmt.Sprintf("%s %.3g", title, shown[title]))
	}
	w.record("dashboard: %s", strings.Join(line, "; "))
	return shown
}

// awaitPanel waits until the panel shows a wanted value.
func (w *walk) awaitPanel(title string, wanted func(float64) bool) {
	w.t.Helper()
	for _, p := range w.panels {
		if p.Title == title {
			await(w.t, "panel "+title, func() bool {
				value, found := w.prometheus.value(rated(p.Targets[0].Expr))
				return found && wanted(value)
			})
			return
		}
	}
	w.t.Fatalf("the dashboard has no panel %q", title)
}

func (w *walk) awaitAlert(name, state string) {
	w.t.Helper()
	await(w.t, name+" is "+state, func() bool { return w.prometheus.state(name) == state })
	w.record("alert %s: %s", name, state)
}

func (w *walk) askReadiness(want int) {
	w.t.Helper()
	for _, name := range []string{"verification-status-0", "verification-status-1"} {
		r := w.replicas[name]
		await(w.t, "the readiness of "+name, func() bool { status, _ := r.ready(w.t); return status == want })
		status, text := r.ready(w.t)
		w.record("%s/readyz: %d %s", name, status, text)
	}
}

// askRedis runs redis-cli, as the runbook says.
func (w *walk) askRedis() string {
	w.t.Helper()
	host, port, _ := strings.Cut(w.redis.Addr, ":")
	out, err := exec.Command(need(w.t, "redis-cli", "redis-tools"), "-h", host, "-p", port, "ping").CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		text = strings.ReplaceAll(text, port, "…")
	}
	w.record("redis-cli ping: %s", text)
	return text
}

// recordLog records the newest line of a replica's log that has this text, without its time.
func (w *walk) recordLog(replica, text string) {
	w.t.Helper()
	var found string
	for line := range strings.Lines(w.replicas[replica].log.String()) {
		if strings.Contains(line, text) {
			found = strings.TrimSpace(line)
		}
	}
	if found == "" {
		w.t.Fatalf("%s did not log %q", replica, text)
	}
	w.record("%s logs: %s", replica, regexp.MustCompile(`"time":"[^"]*",`).ReplaceAllString(found, ""))
}

// quickRules is alerts.yml with every "for" at three seconds.
func quickRules(t *testing.T) string {
	t.Helper()
	groups := readGroups(t, "alerts.yml")
	for i := range groups.Groups[0].Rules {
		groups.Groups[0].Rules[i].For = "3s"
	}
	file := filepath.Join(t.TempDir(), "alerts.yml")
	writeYAML(t, file, groups)
	return file
}

// nothingLost lets no more people come, waits until Stripe has sent everything, and compares each status with Stripe's.
func (w *walk) nothingLost() {
	w.t.Helper()
	w.people()
	settled, cancel := context.WithTimeout(w.t.Context(), soon)
	defer cancel()
	if err := w.stripe.Settle(settled); err != nil {
		w.t.Fatal(err)
	}
	stats := w.stripe.Stats()
	wrong, all := w.wrong()
	w.record("Stripe: %d webhooks delivered, %d attempts refused, %d given up; %d of %d statuses differ from Stripe's",
		stats.Delivered, stats.Failed, stats.Exhausted, wrong, all)
	if wrong > 0 || stats.Exhausted > 0 {
		w.t.Errorf("%d statuses are wrong, %+v", wrong, stats)
	}
}

// walkRedisDown: Redis is killed under a running service. The alert fires on the values that Prometheus recorded. The
// panels, log lines and commands of the runbook's entry show the cause. After Redis is back, the signs under "Over when" appear, and
// no webhook and no status is lost. The runbook has the lines that this test records.
func walkRedisDown(t *testing.T) {
	w := newWalk(t, "", quickRules(t))
	const ready, notKept, failing, lag = "Ready replicas", "Webhooks not kept", "Calls that fail", "Greatest feed lag"
	w.awaitPanel(ready, func(v float64) bool { return v == 2 })
	w.awaitPanel(notKept, func(v float64) bool { return v == 0 })
	w.awaitPanel(failing, func(v float64) bool { return v == 0 })
	w.awaitAlert("VerificationNotReady", "inactive")
	w.show(ready, notKept, failing, lag)

	w.redis.Stop()
	w.began = time.Now()
	w.record("redis-server is killed")
	w.awaitAlert("VerificationNotReady", "pending")
	w.awaitAlert("VerificationNotReady", "firing")
	w.awaitAlert("VerificationWebhooksFailing", "firing")
	w.awaitAlert("VerificationCallsFailing", "firing")
	w.awaitPanel(notKept, func(v float64) bool { return v > 0.9 })
	if shown := w.show(ready, notKept, failing, lag); shown[ready] != 0 || shown[failing] < 0.5 || shown[lag] < 5 {
		t.Errorf("the dashboard does not show the outage: %v", shown)
	}
	w.askReadiness(http.StatusServiceUnavailable)
	if text := w.askRedis(); !strings.Contains(text, "Connection refused") {
		t.Errorf("redis-cli says %q", text)
	}
	w.recordLog("verification-status-0", "not ready: Redis does not answer")
	if state := w.prometheus.state("VerificationFeedLag"); state != "inactive" {
		t.Errorf("VerificationFeedLag is %s: it is for a Redis that answers", state)
	}

	w.redis.Start()
	w.record("redis-server is started again")
	w.askRedis()
	w.askReadiness(http.StatusOK)
	w.awaitAlert("VerificationNotReady", "inactive")
	w.recordLog("verification-status-0", "ready: Redis can be used")
	w.awaitPanel(notKept, func(v float64) bool { return v == 0 })
	w.awaitPanel(failing, func(v float64) bool { return v == 0 })
	if shown := w.show(ready, notKept, failing, lag); shown[ready] != 2 || shown[lag] > 5 {
		t.Errorf("the dashboard does not show that it is over: %v", shown)
	}
	w.record("alert VerificationWebhooksFailing: %s", w.prometheus.state("VerificationWebhooksFailing"))

	w.nothingLost()
	t.Logf("what a person sees who follows the runbook:\n%s", w.lines.String())
	if _, documented, _ := strings.Cut(entries(t)["A walk through: Redis is down"], "```\n"); !strings.HasPrefix(shape(documented), shape(w.lines.String())) {
		t.Error("the runbook has other lines: copy the lines above into it")
	}
}
