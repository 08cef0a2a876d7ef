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
	fronts := fronts{openFront(t, master.Addr), openFront(t, master.Addr)}
	f := &form{fronts: fronts, options: func(replica int) redisstore.Options {
		return redisstore.Options{Addrs: []string{fronts[replica].addr()}, SplitIndex: split}
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
				return move(r, fronts.hold, func() { fronts.reconnect(master.Addr); fronts.release() })
			},
		},
		{
			name: "failover, idle connections closed", prepare: func(*round) bool { return replica.detach(master) },
			lose: func(r *round) (map[string]int32, error) {
				return move(r, fronts.hold, func() { fronts.cutAll(master.Addr); fronts.release() })
			},
		},
		{
			name: "failover, connections cut", prepare: func(*round) bool { return replica.detach(master) },
			lose: func(r *round) (map[string]int32, error) {
				return move(r, func() { fronts.cutAll(""); fronts.hold() }, func() { fronts.cutAll(master.Addr); fronts.release() })
			},
		},
		everythingLost(f),
	}
	return f
}

// detach ends the replication of a replica that has all but the newest writes: what the master takes from
// now on is lost in a failover. It returns false where the replica is not there yet.
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

// fronts are one for each replica, so that one of them can be disturbed alone.
type fronts []*front

func (all fronts) each(do func(*front)) {
	for _, f := range all {
		do(f)
	}
}

func (all fronts) hold()                   { all.each((*front).hold) }
func (all fronts) release()                { all.each((*front).release) }
func (all fronts) cutAll(target string)    { all.each(func(f *front) { f.cutAll(target) }) }
func (all fronts) reconnect(target string) { all.each(func(f *front) { f.reconnect(target) }) }
