package app

import (
	"time"

	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/telemetry"
)

// keepStates bounds how often the states of all consumers are read from the store.
const keepStates = time.Second

func (a *App) newConsumers() *consumers.Consumers {
	return consumers.New(consumers.Config{
		Store: a.store, Logger: a.logger, Clock: a.clock, MaxAge: time.Duration(a.config.FeedMaxAge),
		Keep: keepStates, Share: shares.Of(store.MaxConsumers, int(a.config.CallerSharePercent)), Observe: a.observeConsumers,
	})
}

func (a *App) observeConsumers(all []consumers.State) {
	shown := make([]telemetry.ConsumerState, len(all))
	for i, state := range all {
		shown[i] = telemetry.ConsumerState{
			Name: state.Name, Lag: state.Lag, Pending: state.Pending, Active: state.Active, Expired: state.Expired,
		}
	}
	a.metrics.Consumers(shown)
}
