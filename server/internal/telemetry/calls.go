package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The buckets of gRPC proposal A66, in seconds and in bytes.
var (
	callBuckets = []float64{
		0, .00001, .00005, .0001, .0003, .0006, .0008, .001, .002, .003, .004, .005, .006, .008, .01, .013, .016, .02, .025, .03, .04, .05,
		.065, .08, .1, .13, .16, .2, .25, .3, .4, .5, .65, .8, 1, 2, 5, 10, 20, 50, 100,
	}
	sizeBuckets = []float64{0, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30, 4 << 30}
)

// callMeters are the metrics of gRPC calls.
type callMeters struct {
	started, refused         *prometheus.CounterVec
	duration, received, sent *prometheus.HistogramVec
}

func newCallMeters(m *Metrics) *callMeters {
	return &callMeters{
		started:  m.counters("grpc_server_call_started_total"),
		refused:  m.counters("verification_stripe_budget_refused_calls_total"),
		duration: m.histograms("grpc_server_call_duration_seconds", callBuckets),
		received: m.histograms("grpc_server_call_rcvd_total_compressed_message_size_bytes", sizeBuckets),
		sent:     m.histograms("grpc_server_call_sent_total_compressed_message_size_bytes", sizeBuckets),
	}
}

// MethodMeter counts the calls of one gRPC method. It is safe for concurrent use.
type MethodMeter struct {
	*callMeters
	name    string
	started prometheus.Counter
	ok      endedMeters // most calls end with OK: their labels are looked up once
}

type endedMeters struct{ duration, received, sent prometheus.Observer }

// Method returns the meter of a method ("package.Service/Method"). Names become labels, so they must be a fixed set.
func (m *Metrics) Method(name string) *MethodMeter {
	return &MethodMeter{callMeters: m.calls, name: name, started: m.calls.started.WithLabelValues(name), ok: m.calls.ended(name, "OK")}
}

func (c *callMeters) ended(name, code string) endedMeters {
	return endedMeters{c.duration.WithLabelValues(name, code), c.received.WithLabelValues(name, code), c.sent.WithLabelValues(name, code)}
}

// Started counts a call that has begun.
func (m *MethodMeter) Started() { m.started.Inc() }

// Refused counts a call that failed because no read at Stripe was left for it. setting is the setting that is the limit.
func (m *MethodMeter) Refused(setting string) { m.refused.WithLabelValues(m.name, setting).Inc() }

// Ended counts a call that has ended. code is a canonical code of gRPC; received and sent are the bytes of its messages.
func (m *MethodMeter) Ended(code string, took time.Duration, received, sent int64) {
	ended := m.ok
	if code != "OK" {
		ended = m.ended(m.name, code)
	}
	ended.duration.Observe(took.Seconds())
	ended.received.Observe(float64(received))
	ended.sent.Observe(float64(sent))
}
