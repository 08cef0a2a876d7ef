package maintain

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// fakeStore is the store that replicas share. It has leases that end by the bubble's clock, marks, and sessions whose walk takes time.
type fakeStore struct {
	mu       sync.Mutex
	holders  map[string]string
	until    map[string]time.Time
	marks    map[string]int64
	sessions int
	step     time.Duration // the time for each session of a walk
	walks    []walk
}

// walk is one walk over all sessions.
type walk struct {
	replica  string
	began    time.Time
	complete bool
}

func newFakeStore() *fakeStore {
	return &fakeStore{holders: map[string]string{}, until: map[string]time.Time{}, marks: map[string]int64{}, sessions: 3, step: time.Second}
}

func (f *fakeStore) lease(name, holder string, duration time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if held := f.holders[name]; held != "" && held != holder && time.Now().Before(f.until[name]) {
		return false
	}
	f.holders[name], f.until[name] = holder, time.Now().Add(duration)
	return true
}

func (f *fakeStore) mark(name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.marks[name]
}

// walked returns the walks of a replica; of all replicas if it is empty.
func (f *fakeStore) walked(replica string) (walks []walk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.walks {
		if replica == "" || w.replica == replica {
			walks = append(walks, w)
		}
	}
	return walks
}

var errPlanted = errors.New("planted")

// fakeView is the store as one replica sees it.
type fakeView struct {
	*fakeStore
	replica string
	// visit is called for each session of a walk, before the job sees it; its error ends the walk.
	visit func(n int) error
	// update is the answer to each commit.
	update error
	// cut is true if no call gets through any more.
	cut bool
}

func (v *fakeView) reach() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut {
		return store.ErrUnavailable
	}
	return nil
}

func (v *fakeView) setCut(cut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cut = cut
}

func (v *fakeView) Lease(_ context.Context, name, holder string, duration time.Duration) (bool, error) {
	if err := v.reach(); err != nil {
		return false, err
	}
	return v.lease(name, holder, duration), nil
}

func (v *fakeView) Release(_ context.Context, name, holder string) error {
	if err := v.reach(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.holders[name] == holder {
		v.holders[name] = ""
	}
	return nil
}

func (v *fakeView) Marks(_ context.Context, names ...string) ([]int64, error) {
	if err := v.reach(); err != nil {
		return nil, err
	}
	marks := make([]int64, len(names))
	for i, name := range names {
		marks[i] = v.mark(name)
	}
	return marks, nil
}

func (v *fakeView) SetMark(_ context.Context, name string, value int64) error {
	if err := v.reach(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.marks[name] = value
	return nil
}

// settled is a session that is due for retention.
func settled(id string) verification.Session {
	session, _ := verification.Transition(verification.Session{}, verification.Event{
		ID: "evt_1", Type: verification.EventVerified, Second: 1, RecordTime: 1000,
		Object: verification.Object{ID: id, Status: verification.StatusVerified, Type: "document", Reference: "person-1"},
	})
	return session
}

func (v *fakeView) Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error {
	if err := v.reach(); err != nil {
		return err
	}
	v.mu.Lock()
	at := len(v.walks)
	v.walks = append(v.walks, walk{replica: v.replica, began: time.Now()})
	v.mu.Unlock()
	for n := range v.sessions {
		timer := time.NewTimer(v.step)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		v.mu.Lock()
		planned := v.visit
		v.mu.Unlock()
		if planned != nil {
			if err := planned(n); err != nil {
				return err
			}
		}
		if err := visit(ctx, settled("vs_a")); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.walks[at].complete = true
	return nil
}

func (v *fakeView) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if v.update != nil {
		return verification.Session{}, v.update
	}
	next, _, err := fn(settled(id))
	return next, err
}

func (v *fakeView) ListsRepaired(context.Context) (last, first int64, err error) {
	if err := v.reach(); err != nil {
		return 0, 0, err
	}
	return time.Now().Unix(), 1, nil // the lists are never due in these tests
}

func (v *fakeView) RepairLists(context.Context, func(context.Context) error) (store.ListRepair, error) {
	return store.ListRepair{}, nil
}
