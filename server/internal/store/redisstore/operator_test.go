package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

var (
	onlyOperators = verification.RetryPolicy{MaxRetries: 0}
	operatorTime  = time.Unix(1_790_000_100, 0)
)

func allowing(policy verification.RetryPolicy, principal string) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		next, _, changed := verification.AllowRetry(current, policy, operatorTime, principal)
		return next, changed, nil
	}
}

func resolving(kind verification.ResolutionKind, principal string) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.ResolveVerification(current, kind, operatorTime, principal)
		return next, changed, nil
	}
}

func granting(policy verification.RetryPolicy, principal string) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		next, _, changed := verification.GrantRetry(current, policy, operatorTime, principal)
		return next, changed, nil
	}
}

// update repeats an update as a caller does that got no answer.
func update(t *testing.T, s *Store, fn store.UpdateFunc) verification.Session {
	t.Helper()
	for range 100 {
		session, err := s.Update(testContext(t), "vs_a", fn)
		if err == nil {
			return session
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Update: %v", err)
			return session
		}
	}
	t.Error("Update failed 100 times")
	return verification.Session{}
}

// TestG9_LostAnswersOfAnOperatorsCommit: an operator's act takes effect once, if the driver sends it again and if the operator says
// it again.
func TestG9_LostAnswersOfAnOperatorsCommit(t *testing.T) {
	for name, acts := range map[string][2]store.UpdateFunc{
		"allow":   {allowing(onlyOperators, "token:desk"), allowing(onlyOperators, "token:desk")},
		"resolve": {resolving(verification.ResolutionDeclined, "token:desk"), resolving(verification.ResolutionDeclined, "token:desk")},
	} {
		for _, lost := range []int{2, 100} {
			t.Run(fmt.Sprintf("%s, %d answers", name, lost), func(t *testing.T) {
				proxy := newProxy(t, redistest.Start(t).Addr)
				s := openStore(t, Options{Addrs: []string{proxy.addr()}})
				apply(t, s, event("vs_a", 0, failing))
				proxy.loseAnswers("eval", lost)
				_, err := s.Update(testContext(t), "vs_a", acts[0])
				if every := lost == 100; every != errors.Is(err, store.ErrUnavailable) || !every && err != nil {
					t.Fatalf("Update: %v", err)
				}
				proxy.loseAnswers("", 0)
				if got := update(t, s, acts[1]); got.Revision != 2 || len(got.History) != 2 {
					t.Errorf("revision %d with %d entries; want 2 with 2", got.Revision, len(got.History))
				}
				head, err := s.Head(testContext(t), s.Partition("vs_a"))
				if err != nil || head.Seq != 2 {
					t.Errorf("the feed ends at %d, %v; want 2", head.Seq, err)
				}
			})
		}
	}
}

// TestG9_OperatorsWebhooksAndRetriesAtOnce: two operators, webhooks and callers write one session through two replicas, one of
// which loses answers.
func TestG9_OperatorsWebhooksAndRetriesAtOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	stores := []*Store{openStore(t, Options{Addrs: []string{server.Addr}}), openStore(t, Options{Addrs: []string{proxy.addr()}})}
	policy := verification.RetryPolicy{MaxRetries: 1}
	partition := stores[0].Partition("vs_a")
	start, err := stores[0].Head(testContext(t), partition)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, stores[0], event("vs_a", 0, failing))
	proxy.loseAnswers("vs_a", 20)

	const steps = 12
	var writers sync.WaitGroup
	for n, s := range stores {
		run := func(name string, act func(step int, principal string) store.UpdateFunc) {
			writers.Go(func() {
				for step := range steps {
					update(t, s, act(step, fmt.Sprintf("token:%s-%d-%d", name, n, step)))
				}
			})
		}
		run("webhook", func(step int, _ string) store.UpdateFunc { return applying(event("vs_a", 1+2*step+n, failing)) })
		run("allow", func(_ int, principal string) store.UpdateFunc { return allowing(policy, principal) })
		run("grant", func(_ int, principal string) store.UpdateFunc { return granting(policy, principal) })
		run("resolve", func(step int, principal string) store.UpdateFunc {
			return resolving(verification.ResolutionKind((step+n)%2*2), principal)
		})
	}
	writers.Wait()

	record, err := stores[1].Get(testContext(t), "vs_a")
	if err != nil {
		t.Fatal(err)
	}
	var allowed, granted int32
	names := make(map[string]bool)
	before := verification.State{}
	for _, entry := range record.History {
		switch {
		case entry.Operation == verification.OperationAllowRetry:
			allowed++
			if before.OverrideOpen() || !entry.Result.OverrideOpen() {
				t.Errorf("revision %d: the allowance was open %v, is open %v; want false, true", entry.Revision, before.OverrideOpen(), entry.Result.OverrideOpen())
			}
		case entry.Source == verification.SourceOperator && entry.Result.Resolution.Kind == before.Resolution.Kind:
			t.Errorf("revision %d resolves as the revision before: %+v", entry.Revision, entry.Result.Resolution)
		case entry.Source == verification.SourceRetry:
			granted++
		}
		if entry.Principal != "" && names[entry.Principal] {
			t.Errorf("%s took effect twice", entry.Principal)
		}
		names[entry.Principal] = true
		if entry.Revision > 0 {
			before = entry.Result
		}
	}
	t.Logf("revision %d, %d allowed, %d granted, %d of them by an operator, %d answers not lost", record.Revision, allowed, granted, record.Overrides, proxy.lost())
	if record.FailedAttempts != 1+2*steps || record.RetriesGranted != granted {
		t.Errorf("%d failures, %d granted; want %d, %d", record.FailedAttempts, record.RetriesGranted, 1+2*steps, granted)
	}
	if record.Overrides > allowed || granted-record.Overrides > policy.MaxRetries {
		t.Errorf("%d grants, %d by an operator; want at most %d and %d more", granted, record.Overrides, allowed, policy.MaxRetries)
	}
	entries, err := stores[0].ReadFeed(testContext(t), partition, start, 1000)
	if err != nil || len(entries) != int(record.Revision) {
		t.Fatalf("the feed has %d entries, %v; want %d", len(entries), err, record.Revision)
	}
	for n, entry := range entries {
		if int(entry.Revision) != n+1 {
			t.Fatalf("entry %d of the feed is revision %d", n, entry.Revision)
		}
	}
}

// TestOperatorsDoNotProlongAnArchivedSession: what operators and comparisons do leaves the life of the record in Redis as it was,
// and no name of theirs.
func TestOperatorsDoNotProlongAnArchivedSession(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_a", 0, failing))
		update(t, s, resolving(verification.ResolutionClosed, "token:early"))
		apply(t, s, event("vs_a", 1, canceled))
		update(t, s, func(current verification.Session) (verification.Session, bool, error) {
			next, changed := verification.Archive(current, 24*time.Hour, operatorTime.Add(1000*time.Hour))
			return next, changed, nil
		})
		raw.PExpire(ctx, s.keys.record("vs_a"), time.Hour)
		for _, act := range []struct {
			name string
			do   store.UpdateFunc
		}{
			{"take back", resolving(verification.ResolutionNone, "token:late")},
			{"allow", allowing(onlyOperators, "token:late")},
			{"compare", func(current verification.Session) (verification.Session, bool, error) {
				next, _, changed := verification.Compare(current, 10, operatorTime, "token:late", 5)
				return next, changed, nil
			}},
			{"resolve", resolving(verification.ResolutionDeclined, "token:late")},
		} {
			before, err := s.Get(ctx, "vs_a")
			if err != nil {
				t.Fatal(err)
			}
			if after := update(t, s, act.do); len(after.History) != len(before.History)+1 {
				t.Errorf("%s left %d entries after %d", act.name, len(after.History), len(before.History))
			}
			if ttl := raw.PTTL(ctx, s.keys.record("vs_a")).Val(); ttl <= 0 || ttl > time.Hour {
				t.Errorf("after %s the record lives for %v; want the hour that it had left", act.name, ttl)
			}
		}
		if text := dump(t, raw); strings.Contains(text, "token:") {
			t.Errorf("the name of an operator is in:\n%s", text)
		}
		if got, err := s.Get(ctx, "vs_a"); err != nil || !got.IsArchived() || got.Resolution.Kind != verification.ResolutionDeclined || got.Resolution.Second != operatorTime.Unix() {
			t.Errorf("Get = %+v, %v; want it archived and declined", got, err)
		}
	})
}

// TestG11_ARedactionErasesOperatorsInRedis, their names and what was compared. Kind and time of the resolution stay, and a later
// act leaves no name either.
func TestG11_ARedactionErasesOperatorsInRedis(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		apply(t, s, event("vs_a", 0, failing))
		update(t, s, allowing(onlyOperators, "token:desk-1"))
		update(t, s, resolving(verification.ResolutionDeclined, "token:desk-2"))
		if before := dump(t, raw); !strings.Contains(before, "token:desk-1") || !strings.Contains(before, "token:desk-2") {
			t.Fatalf("nothing to erase in:\n%s", before)
		}
		apply(t, s, event("vs_a", 1, failing, redacted))
		for _, late := range []string{"", "token:desk-3"} {
			if late != "" {
				update(t, s, resolving(verification.ResolutionClosed, late))
			}
			if after := dump(t, raw); strings.Contains(after, "token:desk") {
				t.Errorf("after %q the name of an operator is in:\n%s", late, after)
			}
			if got, err := s.Get(testContext(t), "vs_a"); err != nil || got.Resolution.Kind == verification.ResolutionNone || got.Resolution.Second != operatorTime.Unix() {
				t.Errorf("the resolution is %+v, %v; want kind and time kept", got.Resolution, err)
			}
		}
	})
}
