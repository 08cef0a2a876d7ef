// Package load measures a server with many streams, with many sessions, with many consumers of the feed, and under a limit of memory. Its tests need the build tag load, a quiet
// machine, and up to half an hour:
//
//	go test -tags=load -run TestLoadStreams -v -count=1 -timeout=20m ./server/tests/load
//	go test -tags=load -run TestLoadSessions -v -count=1 -timeout=30m ./server/tests/load
//	go test -tags=load -run TestLoadConsumers -v -count=1 -timeout=20m ./server/tests/load
//	go test -tags=load -run TestLoadMemoryLimit -v -count=1 -timeout=20m ./server/tests/load
//
// It also replaces servers of an older commit by this version and back, under traffic. That takes half a minute, and runs in CI:
//
//	go test -tags=load -run TestG13_G14_MixedVersionsUnderTraffic -v -count=1 ./server/tests/load
package load
