//go:build faults

package faults

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// Two topologies of Redis are broken side by side.
func TestMain(m *testing.M) { rig.Main(m, rig.Room{Parallel: 2}) }
