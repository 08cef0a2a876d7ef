package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// The oldest Redis that this package is made for; older ones lack parts of the stream commands and
// get no more security fixes.
const minMajor, minMinor = 6, 2

// Prepare checks that the server can be used and gives each partition its epoch. Call it at start,
// and again until it returns nil: with store.ErrUnavailable Redis may come back; with ErrMisconfigured
// somebody must act. What is merely unwise is logged as a warning.
func (s *Store) Prepare(ctx context.Context) error {
	infos, err := s.serverInfos(ctx)
	if err != nil {
		return s.prepareFailed(ctx, err)
	}
	var problems []error
	for _, info := range infos {
		problems = append(problems, s.checkServer(info))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	// Writes: a replica or a server that refuses writes is noticed here.
	for partition := range partitions {
		m, err := s.ensureMeta(ctx, partition)
		if err != nil {
			return s.prepareFailed(ctx, err)
		}
		if err := checkMeta(m); err != nil {
			return err
		}
	}
	return nil
}

// serverInfos asks every master.
func (s *Store) serverInfos(ctx context.Context) ([]map[string]string, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		text, err := s.client.Info(ctx).Result()
		return []map[string]string{parseInfo(text)}, err
	}
	var mu sync.Mutex // guards infos: the driver asks the masters concurrently
	var infos []map[string]string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx).Result()
		mu.Lock()
		defer mu.Unlock()
		infos = append(infos, parseInfo(text))
		return err
	})
	return infos, err
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

// checkServer judges one server by its INFO; CONFIG is often forbidden.
func (s *Store) checkServer(info map[string]string) error {
	var problems []error
	if version, ok := info["redis_version"]; !ok {
		s.logger.Info("Redis does not tell its version; 6.2 is the oldest that works")
	} else if !versionAtLeast(version, minMajor, minMinor) {
		problems = append(problems, fmt.Errorf("%w: its version is %s; %d.%d is the oldest that works", ErrMisconfigured, version, minMajor, minMinor))
	}
	if policy, ok := info["maxmemory_policy"]; !ok {
		s.logger.Info("Redis does not tell its maxmemory-policy; it must be noeviction")
	} else if policy != "noeviction" {
		problems = append(problems, fmt.Errorf("%w: maxmemory-policy is %s, which deletes sessions when memory is short; set it to noeviction", ErrMisconfigured, policy))
	}
	if clusterNode(info) && s.mode != Cluster {
		problems = append(problems, fmt.Errorf("%w: the server is a Cluster's node, but the mode is %s; set the mode to cluster", ErrMisconfigured, s.mode))
	}
	if replicas, err := strconv.Atoi(info["connected_slaves"]); err == nil && replicas < s.waitReplicas {
		s.logger.Warn("Redis has too few replicas: every commit is refused until there are enough", "replicas", replicas, "REDIS_WAIT_REPLICAS", s.waitReplicas)
	}
	if info["aof_enabled"] == "0" {
		s.logger.Warn("appendonly is off in Redis: if it crashes, everything since its last snapshot is lost; set appendonly yes")
	}
	return errors.Join(problems...)
}

// clusterNode reports whether a server is a Cluster's node. Valkey has no redis_mode in INFO: it says
// server_mode (github.com/valkey-io/valkey/pull/306). Both say cluster_enabled.
func clusterNode(info map[string]string) bool {
	return info["redis_mode"] == "cluster" || info["server_mode"] == "cluster" || info["cluster_enabled"] == "1"
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

// checkMeta compares how the data are laid out with how this version does it.
func checkMeta(m meta) error {
	if m.partitions != strconv.Itoa(partitions) {
		return fmt.Errorf("%w: its data are in %s partitions, and this version uses %d; use another key prefix, or the version that wrote them",
			ErrMisconfigured, m.partitions, partitions)
	}
	if stored, err := strconv.Atoi(m.format); err != nil || stored > format+1 {
		return fmt.Errorf("%w: its data have format %s, and this version reads up to %d; use a newer version", ErrMisconfigured, m.format, format+1)
	}
	return nil
}

// refusals begin the answers of servers that will never agree.
var refusals = []string{"WRONGPASS", "NOAUTH", "MOVED", "CROSSSLOT", "ERR This instance has cluster support disabled", "ERR DB index is out of range", "ERR invalid DB index"}

// prepareFailed tells a server that refuses from one that is away.
func (s *Store) prepareFailed(ctx context.Context, err error) error {
	refused := slices.ContainsFunc(refusals, func(prefix string) bool { return strings.Contains(err.Error(), prefix) })
	forbidden := strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "The user executing the script")
	var sentinel *sentinelRefusal
	if errors.As(err, &sentinel) && ctx.Err() == nil {
		return fmt.Errorf("%w: %s", ErrMisconfigured, s.redacted(sentinel.Error()))
	}
	if forbidden && ctx.Err() == nil {
		return fmt.Errorf("%w: it says: %s; allow its user -@all +%s", ErrMisconfigured, s.redacted(err.Error()), strings.Join(ACLCommands(s.mode), " +"))
	}
	if refused && ctx.Err() == nil {
		return fmt.Errorf("%w: it says: %s", ErrMisconfigured, s.redacted(err.Error()))
	}
	return s.failed(ctx, "prepare", err)
}
