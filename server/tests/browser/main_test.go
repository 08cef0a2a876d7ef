// Package browser tests the pages of the examples: a real Chromium, the example as a process, and the real server behind it.
package browser

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// Two browsers run at once: each has several processes, and the start of a third one takes too long on two cores.
func TestMain(m *testing.M) {
	rig.Main(m, rig.Room{
		Parallel: 2,
		LeftOut:  "every test of a page in a real browser: go test -count=1 ./server/tests/browser",
	})
}
