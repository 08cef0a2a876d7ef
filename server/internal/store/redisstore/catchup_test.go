package redisstore

import (
	"errors"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func TestDueChange(t *testing.T) {
	checking := verification.Session{Revision: 1, State: verification.State{Status: verification.StatusProcessing, UpdateTime: 1000}}
	later := checking
	later.UpdateTime++
	pending := checking
	pending.Unresolved = true
	waiting := checking
	waiting.Status = verification.StatusRequiresInput
	s := openStore(t, Options{Addrs: []string{"127.0.0.1:1"}})
	names := &s.keys.partitions[0]
	tests := []struct {
		what          string
		before, after verification.Session
		want          string
	}{
		{"nothing begins with a check", verification.Session{}, checking, "1900, was -"},
		{"nothing begins with waiting", verification.Session{}, waiting, ""},
		{"the same", checking, checking, ""},
		{"a later check", checking, later, "1901, was 1900"},
		{"an unresolved session", checking, pending, "1000, was 1900"},
		{"the check ends", checking, waiting, "-, was 1900"},
		{"still waiting", waiting, waiting, ""},
	}
	for _, test := range tests {
		got := ""
		for _, set := range s.setChanges(names, test.before, test.after) {
			if set.key == names.due {
				got += set.second + ", was " + set.former
			}
		}
		if got != test.want {
			t.Errorf("%s: %q; want %q", test.what, got, test.want)
		}
	}
}

// TestLostAnswersAndTheIndexOfDueSessions: a commit that is sent again does not restore an index entry that a later
// commit has removed.
func TestLostAnswersAndTheIndexOfDueSessions(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}})
	apply(t, s, event("vs_warm", 0, failing))
	proxy.loseAnswers("evalsha", 2)
	apply(t, s, event("vs_a", 0))
	if proxy.lost() != 0 {
		t.Fatal("no answer was lost")
	}
	partition := s.Partition("vs_a")
	by := int64(1_790_000_000 + verification.StuckAfter)
	if due, err := s.Due(testContext(t), partition, by, 0, 10); err != nil || len(due) != 1 || due[0] != "vs_a" {
		t.Errorf("due: %v, %v; want vs_a", due, err)
	}
	proxy.loseAnswers("evalsha", 2)
	apply(t, s, event("vs_a", 1, failing))
	if due, err := s.Due(testContext(t), partition, by, 0, 10); err != nil || len(due) != 0 {
		t.Errorf("due after the check: %v, %v; want none", due, err)
	}
}

// TestDuplicatesRepairTheAccounts: after a crash between the commit and the write of its account, the redelivery
// writes the account.
func TestDuplicatesRepairTheAccounts(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		connected := event("vs_a", 0, func(e *verification.Event) { e.Object.Account = "acct_1" })
		apply(t, s, connected)
		rawClient(t, addr).Del(testContext(t), s.keys.accounts())
		apply(t, s, connected)
		if accounts, err := s.Accounts(testContext(t)); err != nil || len(accounts) != 1 || accounts[0] != "acct_1" {
			t.Errorf("Accounts = %v, %v; want acct_1", accounts, err)
		}
	})
}

// TestAnAccountThatIsAddedIsRegistered: a replica of the version before stores the session without its account.
func TestAnAccountThatIsAddedIsRegistered(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		named := func(e *verification.Event) { e.Object.Account = "acct_1" }
		for id, second := range map[string]int{"vs_again": 0, "vs_later": 1} {
			apply(t, s, event(id, 0))
			apply(t, s, event(id, second, named))
			if session, err := s.Get(testContext(t), id); err != nil || session.Account != "acct_1" {
				t.Errorf("%s: account %q, %v; want acct_1", id, session.Account, err)
			}
			if accounts, err := s.Accounts(testContext(t)); err != nil || len(accounts) != 1 || accounts[0] != "acct_1" {
				t.Errorf("%s: Accounts = %v, %v; want acct_1", id, accounts, err)
			}
			rawClient(t, addr).Del(testContext(t), s.keys.accounts())
		}
	})
}

func TestLeasesEnd(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		if has, err := s.Lease(testContext(t), "work", "a", time.Minute); err != nil || !has {
			t.Fatalf("Lease = %v, %v", has, err)
		}
		if ttl := raw.PTTL(testContext(t), s.keys.lease("work")).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("the lease lasts %v; want a minute", ttl)
		}
		if has, err := s.Lease(testContext(t), "work", "a", 2*time.Minute); err != nil || !has {
			t.Fatalf("prolonging = %v, %v", has, err)
		}
		if ttl := raw.PTTL(testContext(t), s.keys.lease("work")).Val(); ttl <= time.Minute {
			t.Errorf("the lease was not prolonged: it lasts %v", ttl)
		}
	})
}

func TestForeignCursorIsCorrupt(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		raw.HSet(testContext(t), s.keys.cursors(), "acct_1", "soon")
		if _, err := s.Cursor(testContext(t), "acct_1"); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Cursor: %v; want ErrCorrupt", err)
		}
		if err := s.SetCursor(testContext(t), "acct_1", 7); err != nil {
			t.Errorf("SetCursor in its place: %v", err)
		}
		if second, err := s.Cursor(testContext(t), "acct_1"); err != nil || second != 7 {
			t.Errorf("Cursor = %d, %v; want 7", second, err)
		}
	})
}

func TestForeignMarkCountsAsAbsent(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		raw.HSet(testContext(t), s.keys.marks(), "work", "soon")
		if marks, err := s.Marks(testContext(t), "work"); err != nil || marks[0] != 0 {
			t.Errorf("Marks = %v, %v; want 0", marks, err)
		}
	})
}
