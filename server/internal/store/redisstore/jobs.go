package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"example.com/verification-status/server/internal/store"
)

var _ store.Jobs = (*Store)(nil)

// Lease implements store.Jobs. It returns an error if the holder is empty or the duration is below a millisecond.
func (s *Store) Lease(ctx context.Context, name, holder string, duration time.Duration) (bool, error) {
	if holder == "" || duration < time.Millisecond {
		return false, fmt.Errorf("the lease %s needs a holder and a duration of at least 1ms; got %v", name, duration)
	}
	return s.lease(ctx, name, holder, duration.Milliseconds())
}

// Release implements store.Jobs.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	_, err := s.lease(ctx, name, holder, 0)
	return err
}

func (s *Store) lease(ctx context.Context, name, holder string, milliseconds int64) (bool, error) {
	has, err := leaseScript.Run(ctx, s.client, []string{s.keys.lease(name)}, holder, milliseconds).Text()
	if err != nil {
		return false, s.failed(ctx, "take or release a lease", err)
	}
	return has == "1", nil
}

// Marks implements store.Jobs.
func (s *Store) Marks(ctx context.Context, names ...string) ([]int64, error) {
	marks := make([]int64, len(names))
	if len(names) == 0 {
		return marks, nil
	}
	values, err := s.client.HMGet(ctx, s.keys.marks(), names...).Result()
	if err != nil {
		return nil, s.failed(ctx, "read the marks of jobs", err)
	}
	for i, value := range values {
		text, _ := value.(string)
		if mark, err := strconv.ParseInt(text, 10, 64); err == nil {
			marks[i] = mark
		}
	}
	return marks, nil
}

// SetMark implements store.Jobs.
func (s *Store) SetMark(ctx context.Context, name string, value int64) error {
	if err := s.client.HSet(ctx, s.keys.marks(), name, value).Err(); err != nil {
		return s.failed(ctx, "store the mark of a job", err)
	}
	return nil
}
