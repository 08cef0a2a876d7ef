// Package redistest starts real Redis servers for a test: one server, a server with replicas, a set of Sentinels, or a Cluster.
// The test can kill, pause and restart each server. An embedded imitation is faster, but differs in slots, trimming and
// failures. The package does not know what the servers store.
package redistest
