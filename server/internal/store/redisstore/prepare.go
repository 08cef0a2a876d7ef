package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// The oldest supported version of Redis. Older versions lack parts of the stream commands and get no more security fixes.
const minMajor, minMinor = 6, 2

// Prepare checks that the server can be used, and gives each partition an epoch. It uses new connections, because open connections
// stay valid after a change of the password. Call Prepare at the start until it returns nil, and every few seconds after that, one
// call at a time.
//
// It returns store.ErrUnavailable if Redis might come back by itself, and ErrMisconfigured if an operator must act. ReasonOf returns
// the reason. While Redis must not be used, every other call fails with store.ErrUnavailable until Prepare returns nil. A setting of
// Redis that is allowed but risky is logged as a warning, once.
func (s *Store) Prepare(ctx context.Context) error {
	client := s.fresh()
	defer client.Close()
	if err := s.examine(ctx, client); err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) && !refused.Reason.NewConnectionsOnly() {
			s.guard.hold(refused)
		}
		return s.hinted(err)
	}
	s.guard.hold(nil)
	s.prepared = true
	// After many refused connections the driver tries the server only once a second.
	return s.Ping(ctx)
}

// Suspect reports whether a call has failed, since the last call of Suspect, in a way that Prepare should check.
func (s *Store) Suspect() bool { return s.suspect.Swap(false) }

func (s *Store) examine(ctx context.Context, client redis.UniversalClient) error {
	infos, err := serverInfos(ctx, client)
	if err != nil {
		s.observeRefused(ctx, err)
		return s.prepareFailed(ctx, err)
	}
	s.observeServers(serversOf(infos))
	var problems []error
	for _, info := range infos {
		problems = append(problems, judgeServer(info.fields, s.mode))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	s.advise(infos)
	if err := s.probe(ctx, client); err != nil {
		return err
	}
	// ensureMetas writes, so it fails on a replica or a server that refuses writes.
	metas, err := s.ensureMetas(ctx, client)
	if err != nil {
		return s.prepareFailed(ctx, err)
	}
	for _, m := range metas {
		if err := judgeLayout([]any{m.partitions, m.format}); err != nil {
			return err
		}
	}
	return nil
}

// prepareFailed returns a refusal if the server refused, or else the error of a server that is unavailable.
func (s *Store) prepareFailed(ctx context.Context, err error) error {
	if refused := s.refused(err); refused != nil && ctx.Err() == nil {
		return refused
	}
	return s.failed(ctx, "prepare", err)
}

// serverInfo is INFO of a master. node is its address on a Cluster, else masterNode.
type serverInfo struct {
	node   string
	fields map[string]string
}

// serverInfos returns INFO of every master.
func serverInfos(ctx context.Context, client redis.UniversalClient) ([]serverInfo, error) {
	_, isCluster := client.(*redis.ClusterClient)
	var mu sync.Mutex // guards infos
	var infos []serverInfo
	err := eachMaster(ctx, client, func(ctx context.Context, master redis.UniversalClient) error {
		text, err := master.Info(ctx).Result()
		node := masterNode
		if single, ok := master.(*redis.Client); ok && isCluster {
			node = single.Options().Addr
		}
		mu.Lock()
		defer mu.Unlock()
		infos = append(infos, serverInfo{node, parseInfo(text)})
		return err
	})
	return infos, err
}

// eachMaster calls do for the client of each master, concurrently.
func eachMaster(ctx context.Context, client redis.UniversalClient, do func(context.Context, redis.UniversalClient) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return do(ctx, client)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return do(ctx, node) })
}

func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// judgeServer returns why a server must not be used, or nil. It decides by INFO, because CONFIG is often forbidden.
func judgeServer(info map[string]string, mode Mode) error {
	var problems []error
	if version, ok := info["redis_version"]; ok && !versionAtLeast(version, minMajor, minMinor) {
		problems = append(problems, refuse(ReasonVersion, "its version is %s; %d.%d is the oldest that works", version, minMajor, minMinor))
	}
	if policy, ok := info["maxmemory_policy"]; ok && policy != "noeviction" {
		problems = append(problems, refuse(ReasonEviction, "maxmemory-policy is %s, which deletes sessions when memory is short; set it to noeviction", policy))
	}
	if clusterNode(info) && mode != Cluster {
		problems = append(problems, refuse(ReasonMode, "the server is a Cluster's node, but the mode is %s; set the mode to cluster", mode))
	}
	return errors.Join(problems...)
}

// clusterNode reports whether a server is a node of a Cluster. INFO of Valkey has server_mode instead of redis_mode
// (github.com/valkey-io/valkey/pull/306). Both have cluster_enabled.
func clusterNode(info map[string]string) bool {
	return info["redis_mode"] == "cluster" || info["server_mode"] == "cluster" || info["cluster_enabled"] == "1"
}

// advise logs the risky settings of the servers. It logs each sentence once for as long as it holds.
func (s *Store) advise(infos []serverInfo) {
	advised := make(map[string]bool)
	once := func(text string, say func(text string, args ...any), args ...any) {
		if !s.advised[text] && !advised[text] {
			say(text, args...)
		}
		advised[text] = true
	}
	for _, server := range infos {
		info := server.fields
		if info["redis_version"] == "" {
			once("Redis does not tell its version; 6.2 is the oldest that works", s.logger.Info)
		}
		if info["maxmemory_policy"] == "" {
			once("Redis does not tell its maxmemory-policy; it must be noeviction", s.logger.Info)
		}
		if replicas, err := strconv.Atoi(info["connected_slaves"]); err == nil && replicas < s.waitReplicas {
			once("Redis has too few replicas: every commit is refused until there are enough", s.logger.Warn,
				"replicas", replicas, "REDIS_WAIT_REPLICAS", s.waitReplicas)
		}
		if info["aof_enabled"] == "0" {
			once("appendonly is off in Redis: if it crashes, everything since its last snapshot is lost; set appendonly yes", s.logger.Warn)
		}
	}
	s.advised = advised
}

// versionAtLeast compares the first two numbers of a version. A version that cannot be read passes.
func versionAtLeast(version string, major, minor int) bool {
	parts := strings.Split(version, ".")
	have, err := strconv.Atoi(parts[0])
	if err != nil || have != major || len(parts) < 2 {
		return err != nil || have >= major
	}
	have, err = strconv.Atoi(parts[1])
	return err != nil || have >= minor
}

// judgeLayout compares the layout of a partition's data, which is the fields partitions and format of its meta hash, with the layout
// of this version. Missing fields mean that there are no data yet.
func judgeLayout(layout []any) error {
	if len(layout) != 2 {
		return nil
	}
	stored, ok := layout[0].(string)
	if ok && stored != strconv.Itoa(partitions) {
		return refuse(ReasonData, "its data are in %s partitions, and this version uses %d; use another key prefix, or the version that wrote them", stored, partitions)
	}
	stored, ok = layout[1].(string)
	if number, err := strconv.Atoi(stored); ok && (err != nil || number > format+1) {
		return refuse(ReasonData, "its data have format %s, and this version reads up to %d; use a newer version", stored, format+1)
	}
	return nil
}
