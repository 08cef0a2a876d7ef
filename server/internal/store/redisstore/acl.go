package redisstore

import "slices"

// commands are what this package sends, or its scripts call, in any mode. Tests take each one away
// and see something fail.
var commands = []string{
	"del", "eval", "evalsha", "exec", "get", "getrange", "hget", "hmget", "hset", "hsetnx", "info",
	"multi", "ping", "sadd", "scan", "set", "setrange", "smembers", "wait", "xadd", "xlen", "xrange", "xread", "xtrim",
	"zadd", "zcard", "zcount", "zrange", "zrem", "zremrangebyrank", "zrevrange", "zscore",
}

// ACLCommands are the commands that a Redis user of this package must be allowed, sorted, as "+name"
// in a rule such as "-@all +get"; with the keys "~vs:*", by the prefix. `select` is needed only for a
// database other than 0, `wait` only with WaitReplicas. A user of the Sentinels needs SentinelRule.
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
