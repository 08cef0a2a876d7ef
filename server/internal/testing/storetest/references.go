package storetest

import (
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func wantNewest(t *testing.T, s store.Store, reference, want string) {
	t.Helper()
	got, err := s.Newest(testContext(t), reference)
	if want == "" {
		wantError(t, "Newest("+reference+")", err, store.ErrNotFound)
	} else if err != nil || got != want {
		t.Errorf("Newest(%s) = %q, %v; want %q", reference, got, err, want)
	}
}

// referenceNewest: the newest session is that with the latest creation time at Stripe, in any order of arrival. A creation time
// of 0 is the oldest.
func referenceNewest(t *testing.T, s store.Store) {
	apply(t, s, event("vs_m", 0, withReference("case"), createdAt(t0+20)))
	wantNewest(t, s, "case", "vs_m")
	apply(t, s, event("vs_z", 0, withReference("case"), createdAt(t0+10)))
	apply(t, s, event("vs_y", 0, withReference("case"), createdAt(0)))
	wantNewest(t, s, "case", "vs_m")
	apply(t, s, event("vs_a", 0, withReference("case"), createdAt(t0+30)))
	wantNewest(t, s, "case", "vs_a")
	apply(t, s, event("vs_b", 0, createdAt(t0+40)))
	apply(t, s, event("vs_c", 0, withReference("other"), createdAt(t0+40)))
	wantNewest(t, s, "case", "vs_a")
	wantNewest(t, s, "other", "vs_c")
	// The creation time arrives later.
	apply(t, s, event("vs_y", 1, withReference("case"), createdAt(t0+50)))
	wantNewest(t, s, "case", "vs_y")
}

func referenceTies(t *testing.T, s store.Store) {
	for _, id := range []string{"vs_b", "vs_c", "vs_a"} {
		apply(t, s, event(id, 0, withReference("case")))
	}
	wantNewest(t, s, "case", "vs_c")
}

func referenceChanges(t *testing.T, s store.Store) {
	apply(t, s, event("vs_a", 0))
	apply(t, s, event("vs_a", 1, withReference("first")))
	wantNewest(t, s, "first", "vs_a")
	apply(t, s, event("vs_a", 2, withReference("second")))
	wantNewest(t, s, "first", "")
	wantNewest(t, s, "second", "vs_a")
}

func referenceOfTombstone(t *testing.T, s store.Store) {
	apply(t, s, event("vs_a", 0, withReference("case"), createdAt(t0)))
	apply(t, s, event("vs_b", 0, withReference("case"), createdAt(t0+1)))
	apply(t, s, event("vs_b", 1, withReference("case"), redacted))
	wantNewest(t, s, "case", "vs_a")
	apply(t, s, event("vs_a", 1, withReference("case"), redacted))
	wantNewest(t, s, "case", "")
	// Later events of a tombstone restore nothing.
	apply(t, s, event("vs_a", 2, withReference("case")))
	apply(t, s, event("vs_a", 2, withReference("case")))
	wantNewest(t, s, "case", "")
}

// referencePointer: the feed has an entry if a reference leads to another session from now on. The entry does not come before
// the change, nor with other changes.
func referencePointer(t *testing.T, s store.Store) {
	pointers := func(e verification.Event) int {
		t.Helper()
		partition := s.Partition(e.Object.ID)
		before := head(t, s, partition)
		apply(t, s, e)
		found := 0
		for _, entry := range readFeed(t, s, partition, before, 100) {
			if entry.Pointer {
				found++
			}
		}
		return found
	}
	steps := []struct {
		what  string
		event verification.Event
		want  int
	}{
		{"the first session", event("vs_b", 0, withReference("case"), createdAt(t0)), 1},
		{"its next change", event("vs_b", 1, withReference("case"), createdAt(t0)), 0},
		{"its duplicate", event("vs_b", 1, withReference("case"), createdAt(t0)), 0},
		{"an older session", event("vs_c", 0, withReference("case"), createdAt(t0-1)), 0},
		{"a newer session", event("vs_a", 0, withReference("case"), createdAt(t0+1)), 1},
		{"a session without a reference", event("vs_d", 0, createdAt(t0+2)), 0},
	}
	for _, step := range steps {
		if got := pointers(step.event); got != step.want {
			t.Errorf("%s: %d pointer entries; want %d", step.what, got, step.want)
		}
	}
}

// referenceUnindexed: Unindex keeps the entry that agrees with the record, and removes others.
func referenceUnindexed(t *testing.T, s store.Store) {
	apply(t, s, event("vs_a", 0, withReference("case"), createdAt(t0)))
	for _, other := range []struct{ reference, id string }{{"case", "vs_a"}, {"case", "vs_unknown"}, {"other", "vs_a"}} {
		if err := s.Unindex(testContext(t), other.reference, other.id); err != nil {
			t.Errorf("Unindex(%s, %s): %v", other.reference, other.id, err)
		}
	}
	wantNewest(t, s, "case", "vs_a")
	wantNewest(t, s, "other", "")
}
