package redisstore

import (
	"errors"
	"testing"

	"example.com/verification-status/server/internal/store"
)

// TestASlowWriterTakesNoEntryThatIsRightAgain: a reference is changed to another one and back, while the slow first
// writer has not yet updated the index after its commit.
func TestASlowWriterTakesNoEntryThatIsRightAgain(t *testing.T) {
	for _, split := range []bool{false, true} {
		servers(t, func(t *testing.T, addr string) {
			s, ctx := openStore(t, Options{Addrs: []string{addr}, SplitIndex: split}), testContext(t)
			before := apply(t, s, event("vs_a", 0, withReference("first")))
			between := apply(t, s, event("vs_a", 1, withReference("second")))
			apply(t, s, event("vs_a", 2, withReference("first")))
			slow := map[string]func() error{
				"after a commit":    func() error { return s.indexAfterCommit(ctx, between, indexedBy(before), indexedBy(between)) },
				"after a duplicate": func() error { return s.ensureIndex(ctx, between) },
				"after a lookup":    func() error { return s.Unindex(ctx, "first", "vs_a") },
			}
			for what, step := range slow {
				if err := step(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if id, err := s.Newest(ctx, "first"); err != nil || id != "vs_a" {
					t.Errorf("%s: first leads to %q, %v; want vs_a", what, id, err)
				}
				if id, err := s.Newest(ctx, "second"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s: second leads to %q, %v; want nowhere", what, id, err)
				}
			}
		})
	}
}
