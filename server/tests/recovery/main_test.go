// Package recovery loses Redis and restores it, by the commands of server/docs/recovery.md.
package recovery

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.Room{Parallel: 4, LeftOut: "backups of Redis, restored by the documented commands: go test -count=1 ./server/tests/recovery"})
}
