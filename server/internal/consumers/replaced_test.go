package consumers

import (
	"errors"
	"testing"

	"example.com/verification-status/server/internal/store"
)

// TestATrimmedPositionOfAnotherDataSetIsNotOld: the data was replaced while the consumer was away. A position in the new data is not
// before the stored one, which is in the old data: if the feed can no longer prove it, changes can be missing.
func TestATrimmedPositionOfAnotherDataSetIsNotOld(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.store.append(0)
		r.open(billing).Close()
		begin := r.heads()
		r.store.flush(0)
		first := r.store.append(0).Position
		r.store.append(0)
		r.store.append(0)
		r.store.trim(0, 2)
		given := []store.Position{first, begin[1], begin[2]}
		if err := r.acknowledge("billing", "pay", given); !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("an acknowledgement of a trimmed position of other data: %v; want ErrTrimmed", err)
		}
		r.wantStored("after it", begin)
	})
}

// TestAConsumerThatIsReplacedWhileItsStreamOpens: it was deleted and created again after the lease was taken. The lease is gone with
// the first one, so the stream must not begin at the position of the second one.
func TestAConsumerThatIsReplacedWhileItsStreamOpens(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(billing).Close()
		r.store.losing = func() { // after the lease was taken
			r.store.losing = func() {}
			if err := r.Delete(t.Context(), "billing", "pay", false); err != nil {
				t.Error(err)
			}
			r.open(billing).Close()
		}
		r.refused(billing, store.ErrNotFound)
		r.open(billing).Close() // the refused one has no lease of the second one
	})
}
