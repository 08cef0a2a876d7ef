package accounts

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// revoke is an event that says that acct_1 revoked its access some time ago.
func (r *replicasRig) revoke(d *Directory, ago time.Duration) {
	r.t.Helper()
	if err := d.Revoked(r.t.Context(), "acct_1", r.clock().Add(-ago).Unix()); err != nil {
		r.t.Error(err)
	}
}

// authorize is an event that says that acct_1 gave access some time ago.
func (r *replicasRig) authorize(d *Directory, ago time.Duration) {
	r.t.Helper()
	if err := d.Authorized(r.t.Context(), "acct_1", r.clock().Add(-ago).Unix()); err != nil {
		r.t.Error(err)
	}
}

// TestAnOldRevocationIsIgnored: Stripe sends an event again for days, and anyone at the dashboard can replay one.
func TestAnOldRevocationIsIgnored(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	r.revoke(one, restFor+time.Second)
	if one.Rests(t.Context(), "acct_1", false) || len(r.store.marks) != 0 {
		t.Error("a revocation of the day before holds up a lookup, or is stored")
	}
	one.Answered(t.Context(), "acct_1", r.clock(), 1)
	r.revoke(one, time.Second)
	r.wantRests(one, "after a revocation before the last answer", false)

	r.tick(time.Minute)
	r.revoke(one, 0)
	r.wantRests(one, "after a revocation", true)
	r.wantRests(two, "after a revocation, at the other replica", true)
	r.tick(time.Hour)
	r.authorize(one, time.Minute)
	r.tick(freshFor)
	for _, d := range []*Directory{one, two, r.replica()} {
		r.wantRests(d, "authorized again", false)
		r.revoke(d, time.Hour)
		r.wantRests(d, "after a replay of the revocation", false)
	}
	r.tick(time.Minute)
	r.revoke(two, 0)
	r.wantRests(two, "revoked again", true)
	r.authorize(two, time.Minute)
	r.wantRests(two, "after an older authorization", true)
}

// TestARevocationOfTheFuture: the clock of this machine is behind Stripe's. The rest ends as any other.
func TestARevocationOfTheFuture(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	r.revoke(d, -time.Hour)
	r.wantRests(d, "revoked", true)
	r.tick(restFor)
	r.wantRests(d, "after a day", false)
}

// TestAnEarlierAnswerDoesNotEndARest: a request that began before the refusal, or with another key, says nothing about it.
func TestAnEarlierAnswerDoesNotEndARest(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	begin := r.clock()
	r.tick(2 * time.Second)
	r.revoke(d, time.Second)
	d.Answered(t.Context(), "acct_1", begin, 1)
	r.wantRests(d, "after the answer to an earlier request", true)
	d.Answered(t.Context(), "acct_1", r.clock(), 2)
	r.wantRests(d, "after the answer to a request with another key", true)
	r.wantRests(r.replica(), "at a new replica", true)
	other := newRig(t)
	d = other.replica()
	d.Answered(t.Context(), "acct_1", other.clock(), 1)
	d.Refused(t.Context(), "acct_1", other.clock().Add(-time.Second), 1)
	other.wantRests(d, "after the refusal of an earlier request than the answered one", false)
}

// TestARefusalIsStoredLater: what could not be stored is kept, and stored with the next read, unless the store knows something
// newer.
func TestARefusalIsStoredLater(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	broken := errors.New("no store")
	r.wantRests(one, "at first", false)
	r.store.fail(broken)
	if err := one.Revoked(t.Context(), "acct_1", r.clock().Unix()); !errors.Is(err, broken) {
		t.Errorf("revoked: error %v; want %v", err, broken)
	}
	if err := two.Revoked(t.Context(), "acct_1", r.clock().Unix()); !errors.Is(err, broken) {
		t.Errorf("revoked and never read: error %v; want %v", err, broken)
	}
	if err := two.Authorized(t.Context(), "acct_1", r.clock().Unix()); !errors.Is(err, broken) {
		t.Errorf("authorized: error %v; want %v", err, broken)
	}
	r.store.fail(nil)
	r.wantRests(two, "at the other replica before the refusal is stored", false)
	r.tick(freshFor)
	r.wantRests(one, "after the store is back", true)
	r.wantRests(two, "at the other replica", true)

	r.store.fail(broken)
	r.tick(time.Minute)
	one.Answered(t.Context(), "acct_1", r.clock(), 1)
	r.store.fail(nil)
	r.tick(freshFor)
	two.Refused(t.Context(), "acct_1", r.clock(), 1)
	r.wantRests(one, "after a newer refusal at the other replica", true)
	r.wantRests(two, "after an answer that was not stored in time", true)
}

// TestNothingIsStoredOfAnUnknownAccount: callers name accounts in lookups, and marks are kept for ever.
func TestNothingIsStoredOfAnUnknownAccount(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	var fails error
	d.config.Known = func(_ context.Context, account string) (bool, error) { return account == "acct_1", fails }
	for i := range 300 {
		account := fmt.Sprint("acct_made", i)
		if d.Refused(t.Context(), account, r.clock(), 1) {
			t.Errorf("%s is known", account)
		}
	}
	if got := len(r.store.marks); got != 0 {
		t.Errorf("%d marks of accounts that callers named; want none", got)
	}
	r.tick(freshFor)
	if !sends(t.Context(), d, "acct_made0") || len(r.store.marks) != 0 {
		t.Errorf("an unknown account rests for longer than %v, or has a mark", freshFor)
	}
	if !d.Refused(t.Context(), "acct_1", r.clock(), 1) {
		t.Error("acct_1 is not known")
	}
	if err := d.NoteContext(t.Context(), "acct_event"); err != nil {
		t.Fatal(err)
	}
	if !d.Refused(t.Context(), "acct_event", r.clock(), 1) {
		t.Error("an account that an event named is not known")
	}
	fails = errors.New("no store")
	if !d.Refused(t.Context(), "acct_3", r.clock(), 1) {
		t.Error("an account is not known while the store cannot say so")
	}
	for _, account := range []string{"acct_1", "acct_event", "acct_3"} {
		if sends(t.Context(), r.replica(), account) {
			t.Errorf("%s does not rest at another replica", account)
		}
	}
}
