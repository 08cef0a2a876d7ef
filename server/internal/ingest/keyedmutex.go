package ingest

import (
	"context"
	"sync"
	"time"
)

// lockTimeout bounds the wait for a session's lock. With a slow Redis, or with many deliveries of the same event, it is
// better to continue without the lock.
const lockTimeout = 20 * time.Millisecond

// keyedMutex lets the events of one session that come to this process at once follow one another. Without it all but
// one of them would conflict in the store, and each conflict is a round trip in vain. Nothing else depends on the
// lock: the commit alone keeps writers apart, in this process and between processes. It is safe for concurrent use.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

// keyLock is the lock of one key.
type keyLock struct {
	held  chan struct{} // holds a value while the lock is held
	users int           // callers that hold the lock or wait for it
}

func newKeyedMutex() *keyedMutex { return &keyedMutex{locks: make(map[string]*keyLock)} }

// lock waits for a key's lock, for lockTimeout at most and no longer than the context. The caller must call unlock,
// also if it did not get the lock.
func (m *keyedMutex) lock(ctx context.Context, key string) (unlock func()) {
	m.mu.Lock()
	lock := m.locks[key]
	if lock == nil {
		lock = &keyLock{held: make(chan struct{}, 1)}
		m.locks[key] = lock
	}
	lock.users++
	m.mu.Unlock()
	select {
	case lock.held <- struct{}{}:
	default:
		if !lock.wait(ctx) {
			return func() { m.leave(key, lock) }
		}
	}
	return func() {
		<-lock.held
		m.leave(key, lock)
	}
}

// wait reports whether it got the lock.
func (l *keyLock) wait(ctx context.Context) bool {
	timeout := time.NewTimer(lockTimeout)
	defer timeout.Stop()
	select {
	case l.held <- struct{}{}:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}

// leave drops the lock of a key that no caller uses.
func (m *keyedMutex) leave(key string, lock *keyLock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lock.users--; lock.users == 0 {
		delete(m.locks, key)
	}
}
