// Package redisstore stores sessions in Redis: standalone, behind Sentinel, or on a Cluster, with one code path for all three.
// It alone knows the keys, the encoding, the scripts and the driver. It does not know what a session means: it stores what
// package verification makes, and asks that package where a record belongs.
//
// A failover of Redis is asynchronous and can lose writes. This package cannot prevent that, but it makes the loss visible
// by epochs, gapless numbers and nonces.
//
// The files:
//
//   - session.go, commit.go, committer.go, replicas.go, recordcache.go: an update, from the read to the commit script.
//   - codec_*.go: the bytes of a record.
//   - feed*.go: the feed of changes and its readers.
//   - consumers*.go: the positions and leases of the named consumers.
//   - lists*.go, index.go, catchup.go, jobs.go, walk.go: lists, the index of references, due sessions, leases and marks.
//   - open.go, options.go, prepare.go, probe.go, guard.go, refusal.go, hint.go, acl.go, sentinel.go: clients, the checks of
//     the server, and errors that say what to correct.
//   - keys.go, scripts.go, lua: the keys and the scripts.
package redisstore
