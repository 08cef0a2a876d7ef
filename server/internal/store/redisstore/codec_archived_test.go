package redisstore

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// archivedFive returns the life of five events, archived.
func archivedFive(t *testing.T) verification.Session {
	t.Helper()
	archived, changed := verification.Archive(fiveEvents(), 24*time.Hour, time.Unix(1_800_000_000, 0))
	if !changed {
		t.Fatal("nothing was archived")
	}
	return archived
}

// TestGoldenArchivedRecords has the stored bytes of archived records, as they were written: with the outcome, without it, and
// without the mark of the archive too.
func TestGoldenArchivedRecords(t *testing.T) {
	kept := archivedFive(t)
	marked := kept
	marked.Kept = verification.KeptOutcome{}
	unmarked := marked
	unmarked.ArchivedAt, unmarked.Erased = 0, nil
	for file, want := range map[string]verification.Session{"archived_outcome.bin": kept, "archived.bin": marked, "archived_unmarked.bin": unmarked} {
		body, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(want.ID, body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s is read otherwise today (-want +got):\n%s", file, diff)
		}
		if !got.IsArchived() {
			t.Errorf("%s does not count as archived", file)
		}
		if again, err := appendBody(nil, got, body[0]); err != nil || string(again) != string(body) {
			t.Errorf("%s is written otherwise today: %x, %v", file, again, err)
		}
	}
}

// TestASettledSessionWithAFullHistoryStays: late events of a settled session trim the entries with a revision. That
// does not archive the session: its record does not expire, and it stays in its list.
func TestASettledSessionWithAFullHistoryStays(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		verified := event("vs_a", verification.MaxHistory+1)
		verified.Type, verified.Object.Status = verification.EventVerified, verification.StatusVerified
		apply(t, s, verified)
		for n := range verification.MaxHistory {
			late := event("vs_a", n)
			late.ID = fmt.Sprintf("evt_late%d", n)
			late.Type, late.Object.Status = verification.EventProcessing, verification.StatusProcessing
			apply(t, s, late)
		}
		session, err := s.Get(ctx, "vs_a")
		if err != nil || session.IsArchived() || session.Revision != 1 || session.History[0].Revision != 0 {
			t.Errorf("archived %v, revision %d, the oldest entry's %d, %v", session.IsArchived(), session.Revision, session.History[0].Revision, err)
		}
		if ttl := raw.PTTL(ctx, s.keys.record("vs_a")).Val(); ttl > 0 {
			t.Errorf("the record expires in %v; want never", ttl)
		}
		page, err := s.List(ctx, store.ListQuery{List: verification.ListVerified, Limit: 10})
		if err != nil || len(page.Sessions) != 1 {
			t.Errorf("listed %d sessions, %v; want 1", len(page.Sessions), err)
		}
	})
}

func TestErasedRevisionsThatCannotBeRead(t *testing.T) {
	field := func(packed string) []byte {
		w := &writer{buf: []byte{format}}
		w.text(sessionErased, packed)
		return w.buf
	}
	for what, body := range map[string][]byte{
		"half a revision":         field("\x80"),
		"half a fingerprint":      field("\x02123"),
		"a revision beyond int32": field("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x011234"),
		"too many":                field(fmt.Sprintf("%0*d", 5*(maxEntries+1), 0)),
	} {
		if _, err := decode("vs_a", body); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", what, err)
		}
	}
}
