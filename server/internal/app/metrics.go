package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/webhook"
)

// metrics counts what the parts report. Labels are small, fixed sets.
type metrics struct {
	registry    *prometheus.Registry
	webhooks    *prometheus.CounterVec
	signatures  *prometheus.CounterVec
	reloads     *prometheus.CounterVec
	stripeCalls *prometheus.CounterVec
	catchUps    *prometheus.CounterVec
	missed      prometheus.Counter
}

func newMetrics() *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	factory := promauto.With(registry)
	return &metrics{
		registry: registry,
		webhooks: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_webhooks_total",
			Help: "Webhook requests, by HTTP status, by what was decided, and by event type for events that were kept.",
		}, []string{"status", "reason", "type"}),
		signatures: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_webhook_signatures_total",
			Help: "Webhook requests that are rightly signed, by the place in STRIPE_WEBHOOK_SECRET of the first secret that fits: 1 is the first one listed.",
		}, []string{"secret"}),
		reloads: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_file_reloads_total",
			Help: "Changes of files that settings name, by setting and by what became of them: used, refused (what the file held before stays in use).",
		}, []string{"file", "result"}),
		stripeCalls: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_stripe_calls_total",
			Help: "Calls of Stripe's API, by operation and outcome.",
		}, []string{"operation", "outcome"}),
		catchUps: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_catch_ups_total",
			Help: "Runs of the catch-up, by how they ended: done, stopped early (the next one goes on), failed.",
		}, []string{"result"}),
		missed: factory.NewCounter(prometheus.CounterOpts{
			Name: "verification_missed_events_total",
			Help: "Events that the webhook had not brought and the catch-up found.",
		}),
	}
}

func (m *metrics) reconciled(s reconcile.Summary, err error) {
	result := "done"
	switch {
	case err != nil:
		result = "failed"
	case s.Stopped != nil:
		result = "stopped"
	}
	m.catchUps.WithLabelValues(result).Inc()
	m.missed.Add(float64(s.Missed.Sum()))
}

func (m *metrics) reloaded(file string, used bool) {
	result := "refused"
	if used {
		result = "used"
	}
	m.reloads.WithLabelValues(file, result).Inc()
}

func (m *metrics) webhook(r webhook.Result) {
	if r.Secret > 0 {
		m.signatures.WithLabelValues(strconv.Itoa(r.Secret)).Inc()
	}
	m.webhooks.WithLabelValues(strconv.Itoa(r.Status), string(r.Reason), r.EventType).Inc()
}

func (m *metrics) stripeCall(operation stripeapi.Operation, outcome stripeapi.Outcome) {
	m.stripeCalls.WithLabelValues(string(operation), string(outcome)).Inc()
}
