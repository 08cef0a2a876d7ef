package redisstore

import "slices"

// commands holds the commands that this package sends, or its scripts call, in any mode. Tests forbid each one and check that
// something fails.
var commands = []string{
	"del", "eval", "evalsha", "exec", "get", "getrange", "hdel", "hget", "hgetall", "hmget", "hset", "hsetnx", "info",
	"multi", "ping", "sadd", "scan", "set", "setrange", "smembers", "time", "wait", "xadd", "xlen", "xrange", "xread", "xtrim",
	"zadd", "zcard", "zcount", "zrange", "zrem", "zremrangebyrank", "zrevrange", "zscore",
}

// ACLCommands returns the commands that a Redis user of this package must be allowed, sorted. They go into an ACL rule as
// "+name", such as "-@all +get", together with the keys "~vs:*" for the prefix "vs:". `select` is necessary only for a
// database other than 0, and `wait` only with WaitReplicas. A user of the Sentinels needs SentinelRule.
func ACLCommands(mode Mode) []string {
	all := slices.Clone(commands)
	if mode == Cluster {
		all = append(all, "asking", "cluster|slots")
	} else {
		all = append(all, "select")
	}
	slices.Sort(all)
	return all
}
