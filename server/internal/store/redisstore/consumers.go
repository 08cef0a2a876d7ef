package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// maxConsumerName bounds the name of a consumer, in bytes.
const maxConsumerName = 64

var _ store.Consumers = (*Store)(nil)

// ListConsumers implements store.Consumers. A consumer that cannot be read is left out, and logged once an
// hour.
func (s *Store) ListConsumers(ctx context.Context) ([]store.Consumer, error) {
	answer, err := s.onConsumers(ctx, consumerReadScript)
	if err != nil {
		return nil, s.failed(ctx, "list the consumers", err)
	}
	var all []store.Consumer
	for described := range slices.Chunk(answer, describedParts) {
		consumer, err := parseConsumer(described)
		if err != nil {
			if s.unreadable.isDue(described[0], time.Now()) {
				s.logger.Error("leaving out a consumer that cannot be read; it can be deleted", "consumer", described[0], "owner", consumer.Owner, "error", err)
			}
			continue
		}
		all = append(all, consumer)
	}
	slices.SortFunc(all, func(a, b store.Consumer) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// hourly says once an hour for each name that something is due. The number of names is bounded by the caller.
type hourly struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (h *hourly) isDue(name string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.last, func(_ string, at time.Time) bool { return now.Sub(at) >= time.Hour })
	if _, logged := h.last[name]; logged {
		return false
	}
	if h.last == nil {
		h.last = make(map[string]time.Time)
	}
	h.last[name] = now
	return true
}

// Consumer implements store.Consumers.
func (s *Store) Consumer(ctx context.Context, name string) (store.Consumer, error) {
	answer, err := s.onConsumers(ctx, consumerReadScript, name)
	return s.consumerIn(ctx, name, answer, err)
}

// CreateConsumer implements store.Consumers. It chooses the incarnation. With WaitReplicas it also waits for a consumer that
// another call has created: that call can have failed because the replicas were late.
func (s *Store) CreateConsumer(ctx context.Context, fresh store.Consumer, share int) (stored store.Consumer, created bool, err error) {
	if fresh.Name == "" || len(fresh.Name) > maxConsumerName {
		return store.Consumer{}, false, fmt.Errorf("the name of a consumer has 1 to %d bytes, not %d", maxConsumerName, len(fresh.Name))
	}
	if err := onePerPartition("CreateConsumer", fresh.Positions); err != nil {
		return store.Consumer{}, false, err
	}
	incarnation, err := s.random()
	if err != nil {
		return store.Consumer{}, false, err
	}
	answer, err := s.createConsumer(ctx, fresh.Name, incarnation, fresh.Owner, formatPositions(fresh.Positions), store.MaxConsumers, share)
	if err == nil && len(answer) == 1 {
		refusal := store.ErrTooManyConsumers
		if answer[0] == "share" {
			refusal = store.ErrConsumerShare
		}
		return store.Consumer{}, false, fmt.Errorf("consumer %s: %w", fresh.Name, refusal)
	}
	if err == nil && len(answer) > 1 {
		created, answer = answer[0] == "created", answer[1:]
	}
	stored, err = s.consumerIn(ctx, fresh.Name, answer, err)
	return stored, created && err == nil, err
}

func (s *Store) createConsumer(ctx context.Context, args ...any) (answer []string, err error) {
	if s.waitReplicas == 0 {
		return s.onConsumers(ctx, consumerCreateScript, args...)
	}
	err = s.pinned(ctx, s.keys.consumers(), func(run runner) (wrote bool, err error) {
		answer, err = run(consumerCreateScript, []string{s.keys.consumers()}, args...).StringSlice()
		return len(answer) > 1, err
	})
	return answer, err
}

// LeaseConsumer implements store.Consumers. It returns an error if the stream is empty or the duration is below a millisecond.
func (s *Store) LeaseConsumer(ctx context.Context, name string, incarnation uint64, stream, holder string, duration time.Duration) (held bool, left time.Duration, err error) {
	if stream == "" || duration < time.Millisecond {
		return false, 0, fmt.Errorf("the lease of consumer %s needs a stream and a duration of at least 1ms; got %v", name, duration)
	}
	return s.leaseConsumer(ctx, name, incarnation, stream, holder, duration.Milliseconds())
}

// ReleaseConsumer implements store.Consumers.
func (s *Store) ReleaseConsumer(ctx context.Context, name string, incarnation uint64, stream string) error {
	_, _, err := s.leaseConsumer(ctx, name, incarnation, stream, "", 0)
	return err
}

func (s *Store) leaseConsumer(ctx context.Context, args ...any) (held bool, left time.Duration, err error) {
	answer, err := s.onConsumers(ctx, consumerLeaseScript, args...)
	switch {
	case err != nil:
		return false, 0, s.failed(ctx, "take or release the lease of a consumer", err)
	case len(answer) != 2:
		return false, 0, fmt.Errorf("%w: the lease script's answer has %d parts", store.ErrUnavailable, len(answer))
	case answer[0] == "none":
		return false, 0, fmt.Errorf("consumer %v: %w", args[0], store.ErrNotFound)
	}
	milliseconds, err := strconv.ParseInt(answer[1], 10, 64)
	if err != nil {
		return false, 0, fmt.Errorf("%w: the lease script's answer is no number", store.ErrUnavailable)
	}
	return answer[0] == "held", time.Duration(milliseconds) * time.Millisecond, nil
}

// MoveConsumer implements store.Consumers.
func (s *Store) MoveConsumer(ctx context.Context, name string, incarnation uint64, from, to []store.Position) (store.Consumer, error) {
	for _, positions := range [][]store.Position{from, to} {
		if err := onePerPartition("MoveConsumer", positions); err != nil {
			return store.Consumer{}, err
		}
	}
	answer, err := s.onConsumers(ctx, consumerMoveScript, name, incarnation, formatPositions(from), formatPositions(to))
	return s.consumerIn(ctx, name, answer, err)
}

// DeleteConsumer implements store.Consumers.
func (s *Store) DeleteConsumer(ctx context.Context, name string, incarnation uint64, unused []store.Position) error {
	args := []any{name, incarnation}
	if unused != nil {
		args = append(args, formatPositions(unused))
	}
	answer, err := consumerDeleteScript.Run(ctx, s.client, []string{s.keys.consumers()}, args...).Text()
	if err != nil {
		return s.failed(ctx, "delete a consumer", err)
	}
	if answer == "used" {
		return fmt.Errorf("consumer %s is in use: %w", name, store.ErrConflict)
	}
	return nil
}

// onConsumers runs a script on the hash of the consumers. It returns the errors of the driver.
func (s *Store) onConsumers(ctx context.Context, script *redis.Script, args ...any) ([]string, error) {
	return script.Run(ctx, s.client, []string{s.keys.consumers()}, args...).StringSlice()
}

// consumerIn returns the consumer in the answer of a script, or ErrNotFound if the answer is empty.
func (s *Store) consumerIn(ctx context.Context, name string, answer []string, err error) (store.Consumer, error) {
	if err != nil {
		return store.Consumer{}, s.failed(ctx, "read or write a consumer", err)
	}
	if len(answer) == 0 {
		return store.Consumer{}, fmt.Errorf("consumer %s: %w", name, store.ErrNotFound)
	}
	consumer, err := parseConsumer(answer)
	if err != nil {
		return consumer, fmt.Errorf("consumer %s: %w", name, err)
	}
	return consumer, nil
}
