// Package e2e tests the whole server from outside: its process, over a real Redis, by webhooks and over gRPC.
package e2e

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// Four tests run side by side, of those that call t.Parallel: they spend nearly all of their time waiting for proxies and
// failovers.
func TestMain(m *testing.M) {
	rig.Main(m, rig.Room{
		Parallel: 4,
		LeftOut:  "every test of the whole server as a process: go test -count=1 ./server/tests/e2e",
	})
}
