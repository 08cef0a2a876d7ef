package telemetry

import "time"

// ConsumerState is what the metrics show of a named consumer of the change feed.
type ConsumerState struct {
	Name string
	// Lag is the age of the oldest change that the consumer has not acknowledged. It is 0 if there is none.
	Lag time.Duration
	// Pending counts the changes that the consumer has not acknowledged, before any filter.
	Pending int64
	// Active is true if a stream of the consumer is open, at any replica.
	Active bool
	// Expired is true if changes that the consumer has not acknowledged are no longer kept.
	Expired bool
}

// Consumers replaces the consumers that are shown. The store bounds their number. A consumer that is not among them was deleted or
// lost: its series end. If the store cannot be read, do not call Consumers: the last figures stay. Do not call it concurrently with
// itself.
func (m *Metrics) Consumers(consumers []ConsumerState) {
	shown := make(map[string]bool, len(consumers))
	for _, c := range consumers {
		m.consumerLag.WithLabelValues(c.Name).Set(c.Lag.Seconds())
		m.consumerPending.WithLabelValues(c.Name).Set(float64(c.Pending))
		m.consumerActive.WithLabelValues(c.Name).Set(number(c.Active))
		m.consumerExpired.WithLabelValues(c.Name).Set(number(c.Expired))
		shown[c.Name] = true
	}
	for name := range m.consumersShown {
		if !shown[name] {
			m.consumerLag.DeleteLabelValues(name)
			m.consumerPending.DeleteLabelValues(name)
			m.consumerActive.DeleteLabelValues(name)
			m.consumerExpired.DeleteLabelValues(name)
		}
	}
	m.consumersShown = shown
}
