package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Buckets in seconds. An event is minutes old if Stripe sent its webhook again, and at most days.
var (
	ageBuckets    = []float64{1, 2, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 86400, 3 * 86400}
	commitBuckets = []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	answerBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	tryBuckets    = []float64{1, 2, 3, 4, 8, 16}
)

// Metrics has the metrics of MetricTable. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	factory  promauto.Factory

	webhooks, stripeCalls, catchUps, rereads, doubts, readThroughs  *prometheus.CounterVec
	opened, ended, sent, denied, signatures, reloads, refused, shed *prometheus.CounterVec
	comparisons                                                     *prometheus.CounterVec
	operatorCalls                                                   *prometheus.CounterVec
	missed, absent, conflicts, rewinds, granted, unlisted           prometheus.Counter
	streams, misconfigured, behindSince, endpoint                   *prometheus.GaugeVec
	consumerLag, consumerPending, consumerActive, consumerExpired   *prometheus.GaugeVec
	commits                                                         *prometheus.HistogramVec
	answers, ages, tries                                            prometheus.Observer
	caughtUp, behind                                                prometheus.Gauge
	refusedReads                                                    *prometheus.CounterVec
	calls                                                           *callMeters
	redis                                                           *redisCollector

	behindShown    map[string]bool // by CatchUpBehind alone
	consumersShown map[string]bool // by Consumers alone
}

// NewMetrics returns Metrics with a registry of their own.
func NewMetrics() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &Metrics{
		registry: registry, factory: promauto.With(registry),
	}
	m.calls = newCallMeters(m)
	m.redis = newRedisCollector()
	registry.MustRegister(m.redis)
	m.webhooks = m.counters("verification_webhooks_total")
	m.stripeCalls = m.counters("verification_stripe_calls_total")
	m.refusedReads = m.counters("verification_stripe_budget_refused_reads_total")
	m.catchUps = m.counters("verification_catch_ups_total")
	m.rereads = m.counters("verification_reread_sessions_total")
	m.doubts = m.counters("verification_doubts_total")
	m.readThroughs = m.counters("verification_read_throughs_total")
	m.opened = m.counters("verification_watches_opened_total")
	m.ended = m.counters("verification_watches_ended_total")
	// An alert looks at the first one: increase() sees a series only from its second sample on.
	m.ended.WithLabelValues("all", "NotFound")
	m.sent = m.counters("verification_watch_sent_total")
	m.denied = m.counters("verification_retries_denied_total")
	m.comparisons = m.counters("verification_comparisons_total")
	m.operatorCalls = m.counters("verification_operator_calls_total")
	m.signatures = m.counters("verification_webhook_signatures_total")
	m.reloads = m.counters("verification_file_reloads_total")
	m.refused = m.counters("verification_calls_refused_total")
	m.shed = m.counters("verification_shed_total")
	m.missed = m.counters("verification_missed_events_total").WithLabelValues()
	m.unlisted = m.counters("verification_thin_without_snapshot_total").WithLabelValues()
	m.absent = m.counters("verification_absent_sessions_total").WithLabelValues()
	m.conflicts = m.counters("verification_commit_conflicts_total").WithLabelValues()
	m.rewinds = m.counters("verification_feed_rewinds_total").WithLabelValues()
	m.granted = m.counters("verification_retries_granted_total").WithLabelValues()
	m.streams = m.gauges("verification_watch_streams")
	m.misconfigured = m.gauges("verification_redis_misconfigured")
	m.endpoint = m.gauges("verification_endpoint_problem")
	m.behind = m.gauges("verification_catch_up_behind_accounts").WithLabelValues()
	m.behindSince = m.gauges("verification_catch_up_behind_since_timestamp_seconds")
	m.caughtUp = m.gauges("verification_catch_up_last_done_timestamp_seconds").WithLabelValues()
	m.consumerLag = m.gauges("verification_consumer_lag_seconds")
	m.consumerPending = m.gauges("verification_consumer_pending")
	m.consumerActive = m.gauges("verification_consumer_active")
	m.consumerExpired = m.gauges("verification_consumer_expired")
	m.commits = m.histograms("verification_commit_duration_seconds", commitBuckets)
	m.answers = m.histograms("verification_webhook_duration_seconds", answerBuckets).WithLabelValues()
	m.ages = m.histograms("verification_event_age_seconds", ageBuckets).WithLabelValues()
	m.tries = m.histograms("verification_commit_tries", tryBuckets).WithLabelValues()
	version, revision, goVersion := build()
	m.gauges("verification_build_info").WithLabelValues(version, revision, goVersion).Set(1)
	return m
}

// Handler serves the metrics in the format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gauge adds the gauge of MetricTable with this name, which must have no labels. read returns its value; it is called at each
// scrape, from any goroutine. Call Gauge once for each name.
func (m *Metrics) Gauge(name string, read func() float64) {
	d := describe(name)
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, read)
}

// GaugeFor does the same for one value of the only label of a gauge. Call it once for each value.
func (m *Metrics) GaugeFor(name, value string, read func() float64) {
	d := describe(name)
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: d.Name, Help: d.Help, ConstLabels: prometheus.Labels{d.Labels[0]: value}}, read)
}

// Counter does what Gauge does for a counter whose count is kept elsewhere.
func (m *Metrics) Counter(name string, read func() float64) {
	d := describe(name)
	m.factory.NewCounterFunc(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, read)
}

func (m *Metrics) counters(name string) *prometheus.CounterVec {
	d := describe(name)
	return m.factory.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

func (m *Metrics) gauges(name string) *prometheus.GaugeVec {
	d := describe(name)
	return m.factory.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

func (m *Metrics) histograms(name string, buckets []float64) *prometheus.HistogramVec {
	d := describe(name)
	return m.factory.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: buckets}, d.Labels)
}

// Webhook counts one request. eventType must be one of a fixed set, or empty. secret is the position, from 1, of the secret that
// the request is signed with, or 0 if none matches. age is the age of an event that was new, and negative for other requests.
func (m *Metrics) Webhook(status int, reason, eventType string, secret int, took, age time.Duration) {
	if secret > 0 {
		m.signatures.WithLabelValues(strconv.Itoa(secret)).Inc()
	}
	m.webhooks.WithLabelValues(strconv.Itoa(status), reason, eventType).Inc()
	m.answers.Observe(took.Seconds())
	if age >= 0 {
		m.ages.Observe(age.Seconds())
	}
}

// NoWebhook makes the count of such requests appear with 0: an alert that compares counts does not see one that is absent.
func (m *Metrics) NoWebhook(status int, reason, eventType string) {
	m.webhooks.WithLabelValues(strconv.Itoa(status), reason, eventType)
}

// EndpointProblem shows whether the webhook endpoint at Stripe has a problem.
func (m *Metrics) EndpointProblem(problem string, is bool) {
	m.endpoint.WithLabelValues(problem).Set(number(is))
}

// number returns the value of a gauge that is 1 or 0.
func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// FileWatched makes the counts of FileReloaded appear with 0, so that Prometheus sees the first refusal as an increase.
func (m *Metrics) FileWatched(setting string) {
	m.reloads.WithLabelValues(setting, "used")
	m.reloads.WithLabelValues(setting, "refused")
}

// FileReloaded counts a change of the file or files that a setting names.
func (m *Metrics) FileReloaded(setting string, used bool) {
	result := "refused"
	if used {
		result = "used"
	}
	m.reloads.WithLabelValues(setting, result).Inc()
}

// CallRefused counts a call that the caller has no right to.
func (m *Metrics) CallRefused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// Shed counts a request that was refused because a limit was reached. what is a method, "call", "webhook" or "connection"; setting is the
// setting that is the limit.
func (m *Metrics) Shed(what, setting string) { m.shed.WithLabelValues(what, setting).Inc() }

// RedisMisconfigured shows whether Redis must not be used for a reason.
func (m *Metrics) RedisMisconfigured(reason string, is bool) {
	m.misconfigured.WithLabelValues(reason).Set(number(is))
}

// Commit counts one update of a session.
func (m *Metrics) Commit(result string, tries int, took time.Duration) {
	m.commits.WithLabelValues(result).Observe(took.Seconds())
	if tries > 0 {
		m.tries.Observe(float64(tries))
		m.conflicts.Add(float64(tries - 1))
	}
}

// Doubt counts an event whose order was ambiguous.
func (m *Metrics) Doubt(outcome string) { m.doubts.WithLabelValues(outcome).Inc() }

// ReadThrough counts a read at Stripe of a session that the store did not have.
func (m *Metrics) ReadThrough(outcome string) { m.readThroughs.WithLabelValues(outcome).Inc() }

// StripeCall counts a call of Stripe's API.
func (m *Metrics) StripeCall(operation, outcome string) {
	m.stripeCalls.WithLabelValues(operation, outcome).Inc()
}

// NoStripeCall makes the count of such calls appear with 0. For Prometheus, a count that begins with 1 has not increased, so that
// an alert would miss the first call.
func (m *Metrics) NoStripeCall(operation, outcome string) {
	m.stripeCalls.WithLabelValues(operation, outcome)
}

// ReadRefused counts a read at Stripe that the budget refused. setting is the setting that is the limit.
func (m *Metrics) ReadRefused(purpose, setting string) {
	m.refusedReads.WithLabelValues(purpose, setting).Inc()
}

// NoReadRefused makes the count of such reads appear with 0, as NoStripeCall does.
func (m *Metrics) NoReadRefused(purpose, setting string) {
	m.refusedReads.WithLabelValues(purpose, setting)
}

// NoCallRefused makes the count of the calls of a method ("package.Service/Method") that MethodMeter.Refused counts appear with 0.
func (m *Metrics) NoCallRefused(method, setting string) {
	m.calls.refused.WithLabelValues(method, setting)
}

// CatchUp counts a run of the catch-up: the events that webhooks had missed, and the sessions that were read again, by outcome.
// done is when the run went through all accounts, or the zero time if it did not.
func (m *Metrics) CatchUp(result string, done time.Time, missed, changed, unchanged, unknown int) {
	m.catchUps.WithLabelValues(result).Inc()
	if !done.IsZero() {
		m.caughtUp.Set(float64(done.Unix()))
	}
	m.missed.Add(float64(missed))
	m.rereads.WithLabelValues("changed").Add(float64(changed))
	m.rereads.WithLabelValues("unchanged").Add(float64(unchanged))
	m.rereads.WithLabelValues("unknown").Add(float64(unknown))
}

// Missed counts events that the catch-up found and no webhook had delivered.
func (m *Metrics) Missed(n int) { m.missed.Add(float64(n)) }

// ThinWithoutSnapshot counts thin events that were answered by a read, and whose snapshot event the catch-up did not find.
func (m *Metrics) ThinWithoutSnapshot(n int) { m.unlisted.Add(float64(n)) }

// SessionsAbsent counts sessions that left the lists because Stripe does not know them.
func (m *Metrics) SessionsAbsent(count int) { m.absent.Add(float64(count)) }

// maxBehind bounds the accounts that are shown by name.
const maxBehind = 20

// BehindAccount is an account whose events are not caught up.
type BehindAccount struct {
	Name  string
	Since time.Time
}

// CatchUpBehind replaces the accounts that are shown as not caught up. accounts begins with the one that is behind longest. Do not
// call it concurrently with itself.
func (m *Metrics) CatchUpBehind(accounts []BehindAccount) {
	m.behind.Set(float64(len(accounts)))
	shown := make(map[string]bool)
	for _, account := range accounts[:min(len(accounts), maxBehind)] {
		m.behindSince.WithLabelValues(account.Name).Set(float64(account.Since.Unix()))
		shown[account.Name] = true
	}
	// An account that stays behind is never absent, so that an alert about it does not end.
	for name := range m.behindShown {
		if !shown[name] {
			m.behindSince.DeleteLabelValues(name)
		}
	}
	m.behindShown = shown
}

// FeedRewound counts a loss of writes in Redis.
func (m *Metrics) FeedRewound() { m.rewinds.Inc() }

// WatchOpened counts a watch that was opened. Call WatchEnded when it ends.
func (m *Metrics) WatchOpened(kind string, resumed bool) {
	m.opened.WithLabelValues(kind, strconv.FormatBool(resumed)).Inc()
	m.streams.WithLabelValues(kind).Inc()
}

// WatchEnded counts a watch that has ended. code is the code of gRPC.
func (m *Metrics) WatchEnded(kind, code string) {
	m.ended.WithLabelValues(kind, code).Inc()
	m.streams.WithLabelValues(kind).Dec()
}

// WatchSent counts a status or change that was sent on a watch.
func (m *Metrics) WatchSent(kind string) { m.sent.WithLabelValues(kind).Inc() }

// RetryGranted counts a retry that was answered with a link.
func (m *Metrics) RetryGranted() { m.granted.Inc() }

// RetryDenied counts a refused retry.
func (m *Metrics) RetryDenied(reason string) { m.denied.WithLabelValues(reason).Inc() }

// Comparison counts a call of CompareVerifiedOutputs.
func (m *Metrics) Comparison(outcome string) { m.comparisons.WithLabelValues(outcome).Inc() }

// OperatorCall counts a call of OperatorService.
func (m *Metrics) OperatorCall(operation, outcome string) {
	m.operatorCalls.WithLabelValues(operation, outcome).Inc()
}
