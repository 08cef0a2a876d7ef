package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// fakeStore is a store of sessions and of the data of the catch-up. fail can refuse any call: it gets the name of the
// call and the id of the session or the name of the account.
type fakeStore struct {
	store.Store // for the methods that no test calls
	fail        func(call, name string) error
	clock       func() time.Time

	mu       sync.Mutex
	sessions map[string]verification.Session
	cursors  map[string]int64
	marks    map[string]int64
	holder   string
	until    time.Time
	leased   int
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		sessions: make(map[string]verification.Session), cursors: make(map[string]int64), marks: make(map[string]int64),
		fail: func(string, string) error { return nil }, clock: time.Now,
	}
}

const partitions = 3

func (m *fakeStore) Partitions() int { return partitions }

func partitionOf(id string) int { return int(id[len(id)-1]) % partitions }

func (m *fakeStore) Get(_ context.Context, id string) (verification.Session, error) {
	if err := m.fail("get", id); err != nil {
		return verification.Session{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	session, ok := m.sessions[id]
	if !ok {
		return verification.Session{}, store.ErrNotFound
	}
	return session, nil
}

func (m *fakeStore) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if err := m.fail("update", id); err != nil {
		return verification.Session{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next, write, err := fn(m.sessions[id])
	if err == nil && write {
		m.sessions[id] = next
	}
	return m.sessions[id], err
}

func (m *fakeStore) Due(_ context.Context, partition int, by int64, skip, limit int) ([]string, error) {
	if err := m.fail("due", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, session := range m.sessions {
		if second, due := session.DueAt(); due && second <= by && partitionOf(id) == partition {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = ids[min(skip, len(ids)):]
	return ids[:min(limit, len(ids))], nil
}

func (m *fakeStore) Absent(_ context.Context, partition, skip, limit int) ([]string, error) {
	if err := m.fail("absent", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, session := range m.sessions {
		if session.IsAbsent() && partitionOf(id) == partition {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = ids[min(skip, len(ids)):]
	return ids[:min(limit, len(ids))], nil
}

// List returns one page of all sessions in a list, in the order of their ids.
func (m *fakeStore) List(_ context.Context, query store.ListQuery) (store.ListPage, error) {
	if err := m.fail("list", ""); err != nil {
		return store.ListPage{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var page store.ListPage
	for _, id := range slices.Sorted(maps.Keys(m.sessions)) {
		session := m.sessions[id]
		if (verification.RetryPolicy{}).Lists(session).Has(query.List) && len(page.Sessions) < query.Limit {
			page.Sessions = append(page.Sessions, session)
		}
	}
	return page, nil
}

func (m *fakeStore) Accounts(context.Context) ([]string, error) {
	if err := m.fail("accounts", ""); err != nil {
		return nil, err
	}
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

func (m *fakeStore) Cursor(_ context.Context, account string) (int64, error) {
	if err := m.fail("cursor", account); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[account], nil
}

func (m *fakeStore) SetCursor(_ context.Context, account string, second int64) error {
	if err := m.fail("setcursor", account); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursors[account] = max(m.cursors[account], second)
	return nil
}

func (m *fakeStore) Lease(_ context.Context, _, holder string, duration time.Duration) (bool, error) {
	if err := m.fail("lease", holder); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if m.holder != "" && m.holder != holder && now.Before(m.until) {
		return false, nil
	}
	m.holder, m.until = holder, now.Add(duration)
	m.leased++
	return true, nil
}

func (m *fakeStore) Release(_ context.Context, _, holder string) error {
	if err := m.fail("release", holder); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder == holder {
		m.holder = ""
	}
	return nil
}

func (m *fakeStore) Marks(_ context.Context, names ...string) ([]int64, error) {
	if err := m.fail("marks", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := make([]int64, len(names))
	for i, name := range names {
		marks[i] = m.marks[name]
	}
	return marks, nil
}

func (m *fakeStore) SetMark(_ context.Context, name string, value int64) error {
	if err := m.fail("setmark", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks[name] = value
	return nil
}

func (m *fakeStore) session(id string) verification.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[id]
}

func (m *fakeStore) cursor(account string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[account]
}
