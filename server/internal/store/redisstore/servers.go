package redisstore

import (
	"context"
	"errors"
	"strconv"
)

// masterNode is Server.Node if there is one master.
const masterNode = "master"

// Untold stands for a number that a server does not tell. Some services leave fields out of INFO.
const Untold = -1

// Server is what a master says of its memory, in INFO. Each number is Untold if INFO lacks it.
type Server struct {
	// Node is the address of the master on a Cluster. Otherwise it is "master", so that it is the same after a failover.
	Node string
	// UsedMemory is used_memory, in bytes.
	UsedMemory int64
	// MaxMemory is maxmemory, in bytes. 0: the server has no limit.
	MaxMemory int64
	// EvictedKeys is evicted_keys: how many keys the server has deleted for lack of memory since it started.
	EvictedKeys int64
	// Policy is maxmemory_policy, such as "noeviction"; empty if INFO lacks it.
	Policy string
}

// observeRefused observes servers whose connections admission refuses, with err: an operator needs the
// figures of a server that evicts.
func (s *Store) observeRefused(ctx context.Context, err error) {
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason.NewConnectionsOnly() {
		return
	}
	client := s.unchecked()
	defer client.Close()
	if infos, err := serverInfos(ctx, client); err == nil {
		s.observeServers(serversOf(infos))
	}
}

func serversOf(infos []serverInfo) []Server {
	servers := make([]Server, len(infos))
	for i, info := range infos {
		servers[i] = serverOf(info)
	}
	return servers
}

func serverOf(info serverInfo) Server {
	return Server{
		Node: info.node, UsedMemory: info.number("used_memory"), MaxMemory: info.number("maxmemory"),
		EvictedKeys: info.number("evicted_keys"), Policy: info.fields["maxmemory_policy"],
	}
}

func (i serverInfo) number(field string) int64 {
	n, err := strconv.ParseInt(i.fields[field], 10, 64)
	if err != nil || n < 0 {
		return Untold
	}
	return n
}
