package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// The oldest Redis that this package is made for; older ones lack parts of the stream commands and
// get no more security fixes.
const minMajor, minMinor = 6, 2

// Prepare checks that the server can be used and gives each partition its epoch. It does so with connections
// of its own, as a process does that starts: the open ones outlive their password. Call it at start, again
// until it returns nil, and every few seconds from then on, one call at a time. With store.ErrUnavailable
// Redis may come back; with ErrMisconfigured somebody must act. ReasonOf says what is to be done. While
// Redis must not be used as it is, every other call fails with store.ErrUnavailable, until Prepare returns
// nil. What is merely unwise is logged as a warning, once.
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
	// The driver tries once a second whether a server is back that refused many connections.
	return s.Ping(ctx)
}

// Suspect reports whether an answer since the last call was one that Prepare should look into.
func (s *Store) Suspect() bool { return s.suspect.Swap(false) }

func (s *Store) examine(ctx context.Context, client redis.UniversalClient) error {
	infos, err := serverInfos(ctx, client)
	if err != nil {
		return s.prepareFailed(ctx, err)
	}
	var problems []error
	for _, info := range infos {
		problems = append(problems, judgeServer(info, s.mode))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	s.advise(infos)
	if err := s.probe(ctx, client); err != nil {
		return err
	}
	// Writes: a replica or a server that refuses writes is noticed here.
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

// prepareFailed tells a server that refuses from one that is away.
func (s *Store) prepareFailed(ctx context.Context, err error) error {
	if refused := s.refused(err); refused != nil && ctx.Err() == nil {
		return refused
	}
	return s.failed(ctx, "prepare", err)
}

// serverInfos asks every master.
func serverInfos(ctx context.Context, client redis.UniversalClient) ([]map[string]string, error) {
	var mu sync.Mutex // guards infos
	var infos []map[string]string
	err := eachMaster(ctx, client, func(ctx context.Context, master redis.UniversalClient) error {
		text, err := master.Info(ctx).Result()
		mu.Lock()
		defer mu.Unlock()
		infos = append(infos, parseInfo(text))
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

// judgeServer says why a server must not be used, by its INFO; CONFIG is often forbidden.
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

// clusterNode reports whether a server is a Cluster's node. Valkey has no redis_mode in INFO: it says
// server_mode (github.com/valkey-io/valkey/pull/306). Both say cluster_enabled.
func clusterNode(info map[string]string) bool {
	return info["redis_mode"] == "cluster" || info["server_mode"] == "cluster" || info["cluster_enabled"] == "1"
}

// advise logs what is unwise about the servers, each sentence once for as long as it holds.
func (s *Store) advise(infos []map[string]string) {
	advised := make(map[string]bool)
	once := func(text string, say func(text string, args ...any), args ...any) {
		if !s.advised[text] && !advised[text] {
			say(text, args...)
		}
		advised[text] = true
	}
	for _, info := range infos {
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

// versionAtLeast compares the first two numbers; what cannot be read passes.
func versionAtLeast(version string, major, minor int) bool {
	parts := strings.Split(version, ".")
	have, err := strconv.Atoi(parts[0])
	if err != nil || have != major || len(parts) < 2 {
		return err != nil || have >= major
	}
	have, err = strconv.Atoi(parts[1])
	return err != nil || have >= minor
}

// judgeLayout compares how the data of a partition are laid out, the fields partitions and format of its
// meta, with how this version does it. What is not there is no data yet.
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
