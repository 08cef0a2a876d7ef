package live

import (
	"strconv"
	"testing"
	"testing/synctest"

	"example.com/verification-status/server/internal/verification"
)

// TestAReadOfOneSessionIsNotSharedWithAnother whose id begins with the first one's: the id and the number of the
// generation, side by side, are the same text.
func TestAReadOfOneSessionIsNotSharedWithAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecords()
		for _, id := range []string{"vs_a", "vs_a1"} {
			r.held[id] = verification.Session{ID: id, Revision: 1}
		}
		v := newView(r, 1000)
		for v.cache.handle("vs_a").counter == v.cache.handle("vs_a1").counter {
			v = newView(r, 1000) // another seed
		}
		for n := 0; strconv.FormatUint(v.cache.handle("vs_a").changeCount(), 36) != "1"+strconv.FormatUint(v.cache.handle("vs_a1").changeCount(), 36); n++ {
			if n > 100 {
				t.Fatal("the generations never meet")
			}
			v.cache.invalidate("vs_a", 1)
		}
		gate := make(chan struct{})
		r.slow = func() { <-gate }
		type answer struct {
			asked, got string
			err        error
		}
		answers := make(chan answer, 2)
		for _, id := range []string{"vs_a1", "vs_a"} {
			go func() {
				session, err := v.Session(t.Context(), id, 0)
				answers <- answer{id, session.ID, err}
			}()
			synctest.Wait()
		}
		close(gate)
		for range 2 {
			if a := <-answers; a.err != nil || a.asked != a.got {
				t.Errorf("asked for %s, was given the record of %q, %v", a.asked, a.got, a.err)
			}
		}
	})
}
