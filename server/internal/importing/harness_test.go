package importing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 4

// fakeStripe lists sessions as Stripe does. fail can refuse any request: it gets its number, from 1, and the account.
type fakeStripe struct {
	mu       sync.Mutex
	sessions []verification.Object // the newest first
	bad      []string              // ids of sessions that the list shows and that cannot be used
	requests int                   // for pages
	reads    int                   // for single sessions
	shown    []string              // the accounts of the pages
	fail     func(request int, account string, query verification.SessionQuery) error
}

func newFakeStripe(sessions ...verification.Object) *fakeStripe {
	s := &fakeStripe{fail: func(int, string, verification.SessionQuery) error { return nil }}
	for _, session := range sessions {
		s.add(session)
	}
	return s
}

func (s *fakeStripe) add(session verification.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := slices.BinarySearchFunc(s.sessions, session, newerFirst)
	s.sessions = slices.Insert(s.sessions, at, session)
}

// change replaces a session by what change makes of it.
func (s *fakeStripe) change(id string, change func(*verification.Object)) verification.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.sessions, func(o verification.Object) bool { return o.ID == id })
	change(&s.sessions[at])
	return s.sessions[at]
}

func newerFirst(a, b verification.Object) int {
	return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(b.ID, a.ID))
}

func (s *fakeStripe) Sessions(_ context.Context, account string, query verification.SessionQuery) (verification.SessionPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.shown = append(s.shown, account)
	if err := s.fail(s.requests, account, query); err != nil {
		return verification.SessionPage{}, err
	}
	page := verification.SessionPage{AsOf: time.Now().Unix() - 2}
	after := query.After == ""
	for _, session := range s.sessions {
		switch {
		case session.Account != account || session.Created < query.From || query.Before > 0 && session.Created >= query.Before:
			continue
		case !after:
			after = session.ID == query.After
			continue
		case len(page.Objects)+len(page.Malformed) == pageSize:
			page.More = true
			return page, nil
		}
		if slices.Contains(s.bad, session.ID) {
			page.Malformed = append(page.Malformed, session.ID)
		} else {
			page.Objects = append(page.Objects, session)
		}
		page.Oldest, page.Newest, page.Last = session.Created, max(page.Newest, session.Created), session.ID
	}
	if !after {
		return verification.SessionPage{}, verification.ErrStripeUnknown
	}
	return page, nil
}

func (s *fakeStripe) Read(_ context.Context, _ verification.Purpose, account, id string) (verification.Retrieved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	for _, session := range s.sessions {
		if session.ID == id && session.Account == account {
			return verification.Retrieved{Object: session, AsOf: time.Now().Unix() - 2}, nil
		}
	}
	return verification.Retrieved{}, verification.ErrStripeUnknown
}

// gets returns how many single sessions were read. A read whose run has ended can still be in progress.
func (s *fakeStripe) gets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeStripe) Event(context.Context, verification.Purpose, string, string, string) (verification.Event, error) {
	return verification.Event{}, verification.ErrStripeUnknown
}

func (s *fakeStripe) FindByReference(context.Context, string) (verification.Retrieved, error) {
	return verification.Retrieved{}, verification.ErrStripeUnknown
}

// fakeStore is a store of sessions, leases and marks. fail can refuse any call: it gets the name of the call and the id of
// the session or the name of the mark.
type fakeStore struct {
	store.Store     // for the methods that no test calls
	store.Consumers // the same
	fail            func(call, name string) error

	mu       sync.Mutex
	sessions map[string]verification.Session
	written  []string // the ids of the sessions in the order of their writes
	marks    map[string]int64
	holder   string
	until    time.Time
	// consumers are the named consumers of the feed. read holds for each how many changes of each partition it has
	// acknowledged. An expired one has none.
	consumers []store.Consumer
	read      map[string]*[partitions]int
	looks     int // calls of ListConsumers
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		sessions: make(map[string]verification.Session), marks: make(map[string]int64),
		fail: func(string, string) error { return nil },
	}
}

func (m *fakeStore) Partitions() int         { return partitions }
func (m *fakeStore) Partition(id string) int { return int(id[len(id)-1]) % partitions }

func (m *fakeStore) Get(_ context.Context, id string) (verification.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	session, ok := m.sessions[id]
	if !ok {
		return verification.Session{}, store.ErrNotFound
	}
	return session, nil
}

func (m *fakeStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if err := cmp.Or(ctx.Err(), m.fail("update", id)); err != nil {
		return verification.Session{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next, write, err := fn(m.sessions[id])
	if err == nil && write {
		m.sessions[id] = next
		m.written = append(m.written, id)
	}
	return m.sessions[id], err
}

func (m *fakeStore) Accounts(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var accounts []string
	for _, session := range m.sessions {
		if session.Account != "" && !slices.Contains(accounts, session.Account) {
			accounts = append(accounts, session.Account)
		}
	}
	return accounts, nil
}

func (m *fakeStore) Lease(_ context.Context, _, holder string, duration time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder != "" && m.holder != holder && time.Now().Before(m.until) {
		return false, nil
	}
	m.holder, m.until = holder, time.Now().Add(duration)
	return true, nil
}

func (m *fakeStore) Release(_ context.Context, _, holder string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder == holder {
		m.holder = ""
	}
	return nil
}

func (m *fakeStore) Marks(_ context.Context, names ...string) ([]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := make([]int64, len(names))
	for i, name := range names {
		marks[i] = m.marks[name]
	}
	return marks, nil
}

func (m *fakeStore) SetMark(ctx context.Context, name string, value int64) error {
	if err := cmp.Or(ctx.Err(), m.fail("setmark", name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks[name] = value
	return nil
}

// consume makes a consumer that has acknowledged everything.
func (m *fakeStore) consume(name string) {
	m.consumers = append(m.consumers, store.Consumer{Name: name, Positions: make([]store.Position, partitions)})
	m.consumers[len(m.consumers)-1].Positions[0].Nonce = uint64(len(m.consumers)) // which one it is
	if m.read == nil {
		m.read = make(map[string]*[partitions]int)
	}
	m.read[name] = &[partitions]int{}
	m.acknowledge(name)
}

// acknowledge moves a consumer to the head.
func (m *fakeStore) acknowledge(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.read[name] = m.heads()
}

// heads returns how many changes each partition got. Call it with the lock held.
func (m *fakeStore) heads() (heads [partitions]int) {
	for _, id := range m.written {
		heads[m.Partition(id)]++
	}
	return heads
}

func (m *fakeStore) ListConsumers(context.Context) ([]store.Consumer, error) {
	if err := m.fail("consumers", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return m.consumers, nil
}

func (m *fakeStore) Behind(_ context.Context, positions []store.Position) ([]store.Behind, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind, read := make([]store.Behind, partitions), m.read[m.consumers[positions[0].Nonce-1].Name]
	for partition, head := range m.heads() {
		if read == nil {
			behind[partition].Err = store.ErrTrimmed
			continue
		}
		behind[partition].Entries = int64(head - read[partition])
	}
	return behind, nil
}

// put commits a session that was known before the import.
func (m *fakeStore) put(session verification.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[session.ID] = session
}

// importer returns an Importer over a store and a Stripe.
func importer(t *testing.T, kept *fakeStore, stripe *fakeStripe, change func(*Config)) *Importer {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	in := ingest.New(ingest.Config{Store: kept, Stripe: stripe, Clock: time.Now, Logger: logger})
	t.Cleanup(in.Close)
	config := Config{Store: kept, Stripe: stripe, Ingest: in, FeedMaxLen: 1_000_000, Logger: logger}
	if change != nil {
		change(&config)
	}
	i, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// complete does a Run that must complete.
func complete(t *testing.T, i *Importer) Summary {
	t.Helper()
	summary, err := i.Run(t.Context())
	if err != nil {
		t.Fatalf("error %v\n%s", err, summary)
	}
	return summary
}

// listedSession returns the n-th session, in one of the states that sessions have.
func listedSession(n int, account string, created int64) verification.Object {
	o := verification.Object{
		ID: fmt.Sprintf("vs_%s%06d", account, n), Account: account, Livemode: true, Type: "document", Status: "verified",
		Report: fmt.Sprintf("vr_%d", n), Created: created, Reference: fmt.Sprintf("person-%d", n),
	}
	switch n % 6 {
	case 1:
		o.Status, o.Report = "requires_input", ""
	case 2:
		o.Status, o.Error = "requires_input", verification.Error{Code: "document_expired", Reason: "It has expired."}
	case 3:
		o.Status = "canceled"
	case 4:
		o.Status = "processing"
	case 5:
		o.Redaction, o.Reference, o.Report = verification.RedactionRedacted, "", ""
	}
	return o
}

// check compares each record with the session at Stripe, and that nothing else is stored.
func check(t interface {
	Helper()
	Errorf(string, ...any)
}, kept *fakeStore, stripe *fakeStripe) {
	t.Helper()
	for _, want := range stripe.sessions {
		got, ok := kept.sessions[want.ID]
		switch {
		case !ok:
			t.Errorf("%s is missing", want.ID)
			return
		case got.Differs(want), got.Account != want.Account, got.Created != want.Created, got.Livemode != want.Livemode:
			t.Errorf("%s is %+v, want %+v", want.ID, got.State, want)
			return
		}
	}
	if len(kept.sessions) != len(stripe.sessions) {
		t.Errorf("%d sessions are stored, want %d", len(kept.sessions), len(stripe.sessions))
	}
}
