package live

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

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
		c := NewCache(r, 1000, time.Now, nil)
		for c.place("vs_a").counter == c.place("vs_a1").counter {
			c = NewCache(r, 1000, time.Now, nil) // another seed
		}
		for n := 0; strconv.FormatUint(c.place("vs_a").now(), 36) != "1"+strconv.FormatUint(c.place("vs_a1").now(), 36); n++ {
			if n > 100 {
				t.Fatal("the generations never meet")
			}
			c.Told("vs_a", 1)
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
				session, err := c.Recent(t.Context(), id, 0)
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
