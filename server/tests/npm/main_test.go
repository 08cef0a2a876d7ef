// Package npm tests the npm package as its users get it: packed, installed into a project of its own, and run against the real
// server by the lines of its README.
package npm

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.Room{
		LeftOut: "the packed npm package in a project of its own: go test -count=1 ./server/tests/npm",
	})
}
