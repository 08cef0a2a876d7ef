package differential

import (
	"context"
	"net"
	"testing"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

// startPair is a master and a replica behind one address, as Sentinels or a managed Redis show them: a
// failover moves the address to the replica, which lags behind.
func startPair(t *testing.T, split bool) *form {
	first := redistest.Start(t)
	master, replica := newServer(t, first), newServer(t, redistest.StartReplica(t, first))
	addrs := proxies{openProxy(t, master.Addr), openProxy(t, master.Addr)}
	f := &form{proxies: addrs, options: func(replica int) redisstore.Options {
		return redisstore.Options{Addrs: []string{addrs[replica].addr()}, SplitIndex: split}
	}}
	f.setMasters(master)
	move := func(r *round, away, to func()) (map[string]int32, error) {
		away()
		defer to()
		kept, err := replica.revisions(r.stripe.sessions())
		if err != nil {
			return nil, err
		}
		master, replica = replica, master
		f.setMasters(master)
		return kept, replica.follow(master)
	}
	f.losses = []loss{
		rewind(t, f),
		{
			name: "failover, connections survive", prepare: func(*round) bool { return replica.detach(master) },
			lose: func(r *round) (map[string]int32, error) {
				return move(r, addrs.hold, func() { addrs.reconnect(master.Addr); addrs.release() })
			},
		},
		{
			name: "failover, idle connections closed", prepare: func(*round) bool { return replica.detach(master) },
			lose: func(r *round) (map[string]int32, error) {
				return move(r, addrs.hold, func() { addrs.cutAll(master.Addr); addrs.release() })
			},
		},
		{
			name: "failover, connections cut", prepare: func(*round) bool { return replica.detach(master) },
			lose: func(r *round) (map[string]int32, error) {
				return move(r, func() { addrs.cutAll(""); addrs.hold() }, func() { addrs.cutAll(master.Addr); addrs.release() })
			},
		},
		everythingLost(f),
	}
	return f
}

// detach ends the replication of a replica that has all but the newest writes: a failover loses what the master writes from
// now on. It returns false if the replica is not ready.
func (s *server) detach(master *server) bool {
	_, port, _ := net.SplitHostPort(master.Addr)
	if s.Info("master_port") != port || s.Info("master_link_status") != "up" {
		return false
	}
	return patiently(func(ctx context.Context) error { return s.Do(ctx, "REPLICAOF", "NO", "ONE").Err() }) == nil
}

// follow makes a server a replica of another.
func (s *server) follow(master *server) error {
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		return err
	}
	return patiently(func(ctx context.Context) error { return s.Do(ctx, "REPLICAOF", host, port).Err() })
}

// proxies are the proxies of the replicas: one for each, so that a test can disturb one alone.
type proxies []*movingProxy

func (all proxies) each(do func(*movingProxy)) {
	for _, f := range all {
		do(f)
	}
}

func (all proxies) hold()                   { all.each((*movingProxy).hold) }
func (all proxies) release()                { all.each((*movingProxy).release) }
func (all proxies) cutAll(target string)    { all.each(func(f *movingProxy) { f.cutAll(target) }) }
func (all proxies) reconnect(target string) { all.each(func(f *movingProxy) { f.reconnect(target) }) }
