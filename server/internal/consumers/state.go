package consumers

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	// lookEvery is how often Run reads the states.
	lookEvery = 15 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 10 * time.Second
)

// State is how far a consumer has come.
type State struct {
	store.Consumer
	// Pending counts the changes after the consumer's positions, whatever its streams filter.
	Pending int64
	// Lag is the age of the oldest of them that is still held, to the second. It is 0 if there is none.
	Lag time.Duration
	// Expired is true if changes that the consumer has not acknowledged are gone.
	Expired bool
}

// List returns the states of all consumers, by name. They can be as old as Config.Keep. A read costs the store about 2,000 commands
// if there are 64 consumers, so one runs at a time.
func (c *Consumers) List(ctx context.Context) ([]State, error) {
	select {
	case c.listing <- struct{}{}:
		defer func() { <-c.listing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	age := time.Since(c.listedAt)
	if age < c.config.Keep && !c.changed.Load() {
		return slices.Clone(c.listed), nil
	}
	select {
	case <-time.After(c.config.Keep/4 - age):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.changed.Store(false) // before the read: it might not see a later change
	began := time.Now()
	states, err := c.readStates(ctx)
	if err != nil {
		c.listedAt = time.Time{}
		return nil, err
	}
	c.listed, c.listedAt = states, began
	return slices.Clone(states), nil
}

func (c *Consumers) readStates(ctx context.Context) ([]State, error) {
	all, err := c.config.Store.ListConsumers(ctx)
	if err != nil {
		return nil, err
	}
	states := make([]State, len(all))
	for i, consumer := range all {
		behind, err := c.config.Store.Behind(ctx, consumer.Positions)
		if err != nil {
			return nil, err
		}
		states[i] = c.stateOf(consumer, behind)
	}
	return states, nil
}

func (c *Consumers) stateOf(consumer store.Consumer, behind []store.Behind) State {
	state, now := State{Consumer: consumer}, c.config.Clock()
	for _, partition := range behind {
		state.Pending += partition.Entries
		state.Expired = state.Expired || partition.Err != nil
		if !partition.Oldest.IsZero() {
			state.Lag = max(state.Lag, now.Sub(partition.Oldest))
		}
	}
	return state
}

// Run reads the states of all consumers about every 15 s until ctx ends, gives them to Config.Observe, and logs the consumers that
// fall far behind.
func (c *Consumers) Run(ctx context.Context) {
	var report report
	for {
		c.look(ctx, &report)
		timer := time.NewTimer(lookEvery*4/5 + rand.N(lookEvery*2/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// report holds what Run has logged already.
type report struct {
	unread bool
	late   map[string]bool // by name: whether the consumer was expired
}

func (c *Consumers) look(ctx context.Context, logged *report) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	states, err := c.List(ctx)
	if err != nil {
		if !logged.unread {
			c.config.Logger.Warn("the states of the consumers cannot be read; their metrics stay as they are", "error", err)
		}
		logged.unread = true
		return
	}
	logged.unread = false
	c.config.Observe(states)
	late := make(map[string]bool)
	for _, state := range states {
		if !c.isLate(state) {
			continue
		}
		late[state.Name] = state.Expired
		if expired, known := logged.late[state.Name]; known && expired == state.Expired {
			continue
		}
		text := "a consumer is behind by more than half of FEED_MAX_AGE"
		if state.Expired {
			text = "changes that a consumer has not acknowledged are gone"
		}
		c.config.Logger.Warn(text, "consumer", state.Name, "owner", state.Owner, "lag", state.Lag, "pending", state.Pending, "active", state.Active)
	}
	logged.late = late
}

func (c *Consumers) isLate(state State) bool {
	return state.Expired || c.config.MaxAge > 0 && state.Lag > c.config.MaxAge/2
}
