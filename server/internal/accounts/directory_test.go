package accounts

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeStore keeps marks and leases. While broken is set, each call fails.
type fakeStore struct {
	mu     sync.Mutex
	broken error
	marks  map[string]int64
	leases map[string]time.Time
	reads  int
	clock  func() time.Time
	// afterRead, if not nil, is called after a read and before its answer.
	afterRead func()
}

func (f *fakeStore) Lease(_ context.Context, name, _ string, duration time.Duration) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return false, f.broken
	}
	if f.clock().Before(f.leases[name]) {
		return false, nil
	}
	f.leases[name] = f.clock().Add(duration)
	return true, nil
}

func (f *fakeStore) Release(context.Context, string, string) error { return nil }

func (f *fakeStore) Marks(_ context.Context, names ...string) ([]int64, error) {
	if f.afterRead != nil {
		defer func() { f.afterRead() }()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.broken != nil {
		return nil, f.broken
	}
	marks := make([]int64, len(names))
	for i, name := range names {
		marks[i] = f.marks[name]
	}
	return marks, nil
}

func (f *fakeStore) SetMark(_ context.Context, name string, value int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	f.marks[name] = value
	return nil
}

func (f *fakeStore) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
}

// replicasRig is some replicas with one store and one clock.
type replicasRig struct {
	t     *testing.T
	now   atomic.Int64 // Unix seconds
	keyID atomic.Int64
	store *fakeStore
	logs  bytes.Buffer
}

func newRig(t *testing.T) *replicasRig {
	r := &replicasRig{t: t}
	r.now.Store(1_790_000_000)
	r.keyID.Store(1)
	r.store = &fakeStore{marks: map[string]int64{}, leases: map[string]time.Time{}, clock: r.clock}
	return r
}

func (r *replicasRig) clock() time.Time { return time.Unix(r.now.Load(), 0) }

func (r *replicasRig) tick(d time.Duration) { r.now.Add(int64(d.Seconds())) }

func (r *replicasRig) replica() *Directory {
	r.t.Helper()
	d, err := New(Config{
		Store: r.store, KeyID: func(string) int64 { return r.keyID.Load() }, Clock: r.clock,
		Logger: slog.New(slog.NewTextHandler(&r.logs, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// sends reports whether a request of this service's own is sent.
func sends(ctx context.Context, d *Directory, account string) bool {
	return !d.Rests(ctx, account, true) && d.Probe(ctx, account)
}

func (r *replicasRig) wantRests(d *Directory, when string, want bool) {
	r.t.Helper()
	if got := !sends(r.t.Context(), d, "acct_1"); got != want {
		r.t.Errorf("%s: rests %v; want %v", when, got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{KeyID: func(string) int64 { return 1 }}); err == nil {
		t.Error("a Directory without a store")
	}
	if _, err := New(Config{Store: newRig(t).store}); err == nil {
		t.Error("a Directory without KeyID")
	}
}

// TestRefusedAccountRestsForADay: on all replicas, and over a restart. Then one request of one replica finds out whether
// Stripe still refuses.
func TestRefusedAccountRestsForADay(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	r.wantRests(one, "at first", false)
	r.wantRests(two, "at first", false)
	one.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.wantRests(one, "after the refusal", true)
	if !sends(t.Context(), one, "acct_2") {
		t.Error("another account rests")
	}
	r.tick(freshFor)
	r.wantRests(two, "at the other replica", true)
	r.wantRests(r.replica(), "after a restart", true)
	r.tick(restFor - freshFor - time.Second)
	r.wantRests(one, "a second before the day is over", true)

	for day := range 3 {
		r.tick(time.Second)
		r.wantRests(two, "the first request after a day", false)
		r.wantRests(two, "the second request", true)
		r.wantRests(one, "a request of the other replica", true)
		two.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
		r.wantRests(two, "refused again", true)
		r.tick(restFor - time.Second)
		r.wantRests(one, "late on the next day", true)
		r.wantRests(two, "late on the next day", true)
		if t.Failed() {
			t.Fatalf("on day %d", day)
		}
	}
}

// TestAnAnswerEndsTheRest: the probe of one replica ends the rest for all.
func TestAnAnswerEndsTheRest(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	one.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.wantRests(two, "after the refusal", true)
	r.tick(restFor)
	r.wantRests(one, "after a day", false)
	one.Answered(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.wantRests(one, "after an answer", false)
	r.wantRests(one, "after an answer", false)
	r.wantRests(two, "after an answer to the other replica", false)
	r.wantRests(r.replica(), "after a restart", false)
}

// TestAProbeWithoutAnAnswer: another request finds out a minute later.
func TestAProbeWithoutAnAnswer(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	one.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.tick(restFor)
	r.wantRests(one, "the first request", false)
	r.tick(probeFor - time.Second)
	r.wantRests(two, "within a minute", true)
	r.tick(time.Second)
	r.wantRests(two, "after a minute", false)
	r.wantRests(one, "after the second probe", true)
}

// TestProbesAtOnce: of many requests at once after the rest, one is sent.
func TestProbesAtOnce(t *testing.T) {
	r := newRig(t)
	replicas := []*Directory{r.replica(), r.replica(), r.replica()}
	replicas[0].Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.tick(restFor)
	var sent atomic.Int32
	var working sync.WaitGroup
	for i := range 60 {
		working.Go(func() {
			if sends(t.Context(), replicas[i%3], "acct_1") {
				sent.Add(1)
			}
		})
	}
	working.Wait()
	if got := sent.Load(); got != 1 {
		t.Errorf("%d requests were sent; want 1", got)
	}
}

// TestAnotherKeyEndsTheRest: the refusal says nothing about a new key.
func TestAnotherKeyEndsTheRest(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	one.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.keyID.Store(2)
	r.wantRests(one, "with a new key", false)
	r.wantRests(two, "with a new key", false)
	two.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.wantRests(two, "refused with the new key", true)
	r.tick(freshFor)
	r.wantRests(one, "refused with the new key", true)
}

// TestAClockThatWasWrong: a rest that seems longer than a day is over.
func TestAClockThatWasWrong(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	r.tick(365 * 24 * time.Hour)
	d.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.now.Store(1_790_000_000)
	r.wantRests(d, "after the clock was put right", false)
}

// TestAClockThatIsBehind: a replica whose clock is a little behind keeps the rest that another one began.
func TestAClockThatIsBehind(t *testing.T) {
	r := newRig(t)
	r.replica().Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	for _, behind := range []time.Duration{time.Second, maxSkew} {
		r.now.Store(1_790_000_000)
		r.tick(-behind)
		r.wantRests(r.replica(), "behind by "+behind.String(), true)
	}
	r.tick(-time.Second)
	r.wantRests(r.replica(), "behind by more", false)
}

// TestContextIsKept: for all replicas, and when the store loses it.
func TestContextIsKept(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	ctx := t.Context()
	if byContext(t, one, "acct_1") || byContext(t, two, "acct_1") {
		t.Error("an account is named by context before any event")
	}
	if err := one.NoteContext(ctx, "acct_1"); err != nil {
		t.Fatal(err)
	}
	if !byContext(t, one, "acct_1") || byContext(t, one, "acct_2") {
		t.Error("want acct_1 and not acct_2")
	}
	r.tick(freshFor)
	if !byContext(t, two, "acct_1") || !byContext(t, r.replica(), "acct_1") {
		t.Error("another replica and a new one do not know the context")
	}
	one.Refused(ctx, "acct_1", r.clock(), r.keyID.Load())
	one.Answered(ctx, "acct_1", r.clock(), r.keyID.Load())
	clear(r.store.marks)
	r.tick(freshFor)
	r.wantRests(one, "after a loss", false)
	if !byContext(t, one, "acct_1") {
		t.Error("the replica has lost the context together with the store")
	}
}

// byContext returns the answer of a Directory that can read the store.
func byContext(t *testing.T, d *Directory, account string) bool {
	t.Helper()
	got, err := d.ByContext(t.Context(), account)
	if err != nil {
		t.Error(err)
	}
	return got
}

// TestContextIsUnknownWithoutTheStore: also if this process knows something else of the account.
func TestContextIsUnknownWithoutTheStore(t *testing.T) {
	r := newRig(t)
	one, two := r.replica(), r.replica()
	if err := one.NoteContext(t.Context(), "acct_1"); err != nil {
		t.Fatal(err)
	}
	r.store.fail(errors.New("no store"))
	two.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	if got, err := two.ByContext(t.Context(), "acct_1"); err == nil {
		t.Errorf("by context %v without the store; want an error", got)
	}
	if !byContext(t, one, "acct_1") {
		t.Error("the replica that got the event does not know the context without the store")
	}
	r.store.fail(nil)
	if !byContext(t, two, "acct_1") {
		t.Error("the other replica does not know the context after the store is back")
	}
}

// TestWithoutTheStore: an event whose context cannot be stored fails, so that Stripe sends it again. Rests holds up no request,
// and a refusal holds in this process.
func TestWithoutTheStore(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	ctx, broken := t.Context(), errors.New("no store")
	r.store.fail(broken)
	if err := d.NoteContext(ctx, "acct_1"); !errors.Is(err, broken) {
		t.Errorf("error %v; want %v", err, broken)
	}
	if got, err := d.ByContext(ctx, "acct_1"); got || !errors.Is(err, broken) {
		t.Errorf("a context that was not stored: %v, error %v; want false and %v", got, err, broken)
	}
	r.wantRests(d, "nothing is known", false)
	d.Refused(ctx, "acct_1", r.clock(), r.keyID.Load())
	r.wantRests(d, "refused", true)
	r.tick(freshFor)
	r.wantRests(d, "refused, and read again", true)
	if r.logs.Len() == 0 {
		t.Error("no log line says that the other replicas do not know it")
	}
	r.tick(restFor)
	r.wantRests(d, "after a day, without a lease", true)
	r.store.fail(nil)
	r.wantRests(d, "when the store is back and knows no refusal", false)
}

// TestReadsOfTheStoreAreFew: not each request reads the store.
func TestReadsOfTheStoreAreFew(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	for range 1000 {
		d.Rests(t.Context(), "acct_1", true)
		byContext(t, d, "acct_1")
		d.Answered(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	}
	if r.store.reads != 1 {
		t.Errorf("%d reads; want 1", r.store.reads)
	}
}

// TestAReadDoesNotUndoAChange: a read that began before a change of this process ends after it.
func TestAReadDoesNotUndoAChange(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	r.store.afterRead = func() {
		r.store.afterRead = nil
		d.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
		if err := d.NoteContext(t.Context(), "acct_1"); err != nil {
			t.Fatal(err)
		}
	}
	d.Rests(t.Context(), "acct_1", true)
	r.wantRests(d, "refused during a read", true)
	if !d.cached("acct_1").byContext {
		t.Error("the context that came during a read is lost")
	}
}

// TestOnlyARequestTakesTheProbe: a caller that cannot probe rests until the probe has an answer, and asking about the rest
// leaves the probe to the request that is sent.
func TestOnlyARequestTakesTheProbe(t *testing.T) {
	r := newRig(t)
	d := r.replica()
	d.Refused(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	r.tick(restFor)
	for range 3 {
		if !d.Rests(t.Context(), "acct_1", false) {
			t.Error("a lookup is sent after the rest and before the probe")
		}
		if d.Rests(t.Context(), "acct_1", true) {
			t.Error("an event's read rests after the rest")
		}
	}
	r.wantRests(d, "the first request", false)
	d.Answered(t.Context(), "acct_1", r.clock(), r.keyID.Load())
	if d.Rests(t.Context(), "acct_1", false) {
		t.Error("a lookup rests after an answer")
	}
}
