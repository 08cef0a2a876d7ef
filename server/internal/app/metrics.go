package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/webhook"
)

// metrics counts what the parts report. Labels are small, fixed sets.
type metrics struct {
	registry    *prometheus.Registry
	webhooks    *prometheus.CounterVec
	stripeCalls *prometheus.CounterVec
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
		stripeCalls: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "verification_stripe_calls_total",
			Help: "Calls of Stripe's API, by operation and outcome.",
		}, []string{"operation", "outcome"}),
	}
}

func (m *metrics) webhook(r webhook.Result) {
	m.webhooks.WithLabelValues(strconv.Itoa(r.Status), string(r.Reason), r.EventType).Inc()
}

func (m *metrics) stripeCall(operation stripeapi.Operation, outcome stripeapi.Outcome) {
	m.stripeCalls.WithLabelValues(string(operation), string(outcome)).Inc()
}
