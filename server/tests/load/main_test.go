//go:build load

package load

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m, rig.Room{}) }
