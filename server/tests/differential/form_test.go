package differential

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

// form is a way in which Redis is run.
type form struct {
	options func(replica int) redisstore.Options
	losses  []loss
	proxies []*movingProxy // of the replicas; none on a Cluster

	mu  sync.Mutex
	now []*server // see masters
}

// masters returns the servers that take writes now.
func (f *form) masters() []*server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *form) setMasters(masters ...*server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = masters
}

var formNames = map[string]func(*testing.T) *form{
	"standalone": func(t *testing.T) *form { return startPair(t, false) },
	"split":      func(t *testing.T) *form { return startPair(t, true) },
	"cluster":    startMasters,
}

// server is a redis-server with a client of its own, besides the clients of the replicas.
type server struct {
	*redistest.Server
	*redis.Client
	records *redisstore.Store // for the records of this server alone
}

func newServer(t *testing.T, s *redistest.Server) *server {
	t.Helper()
	opened, err := redisstore.Open(redisstore.Options{Addrs: []string{s.Addr}, Policy: policy()})
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: 5})
	t.Cleanup(func() {
		client.Close()
		opened.Close()
	})
	return &server{s, client, opened}
}

// master returns one of the servers that take writes now.
func (f *form) master(rng *rand.Rand) *server {
	masters := f.masters()
	return masters[rng.IntN(len(masters))]
}

func (f *form) flush(t *testing.T) {
	t.Helper()
	for _, master := range f.masters() {
		if err := master.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// everythingLost is a FLUSHALL.
func everythingLost(f *form) loss {
	return loss{
		name: "FLUSHALL", everything: true,
		prepare: func(*round) bool { return true },
		lose: func(r *round) (map[string]int32, error) {
			for _, master := range f.masters() {
				if err := patiently(func(ctx context.Context) error { return master.FlushAll(ctx).Err() }); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
	}
}

// revisions returns the revisions of all sessions of a server.
func (s *server) revisions(ids []string) (map[string]int32, error) {
	found := make(map[string]int32)
	for _, id := range ids {
		err := patiently(func(ctx context.Context) error {
			session, err := s.records.Get(ctx, id)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			found[id] = session.Revision
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// patiently tries again while other faults are under way.
func patiently(do func(context.Context) error) (err error) {
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = do(ctx)
		if err == nil {
			cancel()
			return nil
		}
		_ = pause(ctx, 50*time.Millisecond)
		cancel()
	}
	return err
}
