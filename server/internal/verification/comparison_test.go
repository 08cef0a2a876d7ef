package verification

import (
	"slices"
	"testing"
	"time"
)

const day = 24 * 60 * 60

// compared returns the record after a comparison that must be allowed.
func compared(t *testing.T, s Session, limit int, second int64) Session {
	t.Helper()
	next, again, changed := Compare(s, limit, at(second), "SECRET-CALLER", 5)
	if !changed || !again.IsZero() {
		t.Fatalf("the comparison at %d is refused until %v", second, again)
	}
	return next
}

// TestComparisonsOfADay: a session is compared at most limit times in any 24 hours, whatever order the clocks of servers give.
func TestComparisonsOfADay(t *testing.T) {
	s := after(created("evt_1", 1))
	for _, second := range []int64{1000, 3000, 2000} {
		s = compared(t, s, 3, second)
	}
	for _, c := range []struct {
		limit      int
		now, again int64
	}{
		{3, 3001, 1000 + day}, {3, 999 + day, 1000 + day}, {2, 3001, 2000 + day}, {1, 3001, 3000 + day}, {0, 3001, 3001 + day},
	} {
		next, again, changed := Compare(s, c.limit, at(c.now), "", 5)
		if changed || again.Unix() != c.again || len(next.History) != len(s.History) {
			t.Errorf("limit %d at %d: allowed %v, again at %d; want false, %d", c.limit, c.now, changed, again.Unix(), c.again)
		}
	}
	if s = compared(t, s, 3, 1000+day); !slices.Equal(s.Comparisons, []int64{2000, 3000, 1000 + day}) {
		t.Errorf("the comparisons of the day are %v", s.Comparisons)
	}
	if _, again, changed := Compare(Session{}, 3, at(1), "", 5); changed || !again.IsZero() {
		t.Errorf("a session that is not known: allowed %v, again at %v", changed, again)
	}
}

// TestTheHistoryKeepsTheNewestComparisons, MaxComparisons of them, and all other entries.
func TestTheHistoryKeepsTheNewestComparisons(t *testing.T) {
	s := after(created("evt_1", 1), failed("evt_2", 10, "vr_1", expired))
	for n := range int64(MaxComparisons + 5) {
		s = compared(t, s, 100, 1000+n)
	}
	var times []int64
	for _, entry := range s.History {
		if entry.Source == SourceComparison {
			times = append(times, entry.RecordTime/1000)
		}
	}
	want := []int64{1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012}
	if !slices.Equal(times, want) || len(s.History) != 2+MaxComparisons || s.Revision != 2 {
		t.Errorf("comparisons of %v in %d entries, revision %d; want %v in %d, revision 2", times, len(s.History), s.Revision, want, 2+MaxComparisons)
	}
	if len(s.Comparisons) != MaxComparisons+5 {
		t.Errorf("%d comparisons count; want %d", len(s.Comparisons), MaxComparisons+5)
	}
}

// TestG11_ComparisonsOfARecordWithoutDetails: an erasure removes who compared which fields, and a later comparison leaves neither.
func TestG11_ComparisonsOfARecordWithoutDetails(t *testing.T) {
	whole := after(created("evt_1", 1), verified("evt_2", 10, "vr_1"))
	whole = compared(t, whole, 100, 1000)
	archived, _ := Archive(whole, time.Hour, at(10_000))
	tombstone, _ := Transition(whole, redacted("evt_3", 20, StatusVerified, RedactionRedacted))
	for name, s := range map[string]Session{"archived": archived, "redacted": tombstone} {
		s = compared(t, s, 100, 20_000)
		newest := s.History[len(s.History)-1]
		if !s.detailsErased() || newest.Source != SourceComparison {
			t.Fatalf("%s: %+v", name, s)
		}
		for _, entry := range s.History {
			if entry.Compared != 0 || entry.Principal != "" {
				t.Errorf("%s: an entry has the fields %b, the principal %q", name, entry.Compared, entry.Principal)
			}
		}
		if len(s.Comparisons) != 2 {
			t.Errorf("%s: %d comparisons count; want 2", name, len(s.Comparisons))
		}
	}
}
