// Package bench compares the server, in its own process and over a real Redis, with the least that its contract can cost and
// with what other programs make of the same work. Ratios within one run are what counts:
//
//	go test -run '^$' -bench . -count 5 ./server/tests/bench | tee bench.txt && benchstat -col /server bench.txt
package bench

import (
	"os"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// envIsBare makes the test program the server that benchmarks compare with.
const envIsBare = "VERIFICATION_TEST_IS_BARE"

func TestMain(m *testing.M) {
	if os.Getenv(envIsBare) != "" {
		go rig.ExitWithTests()
		os.Exit(runBare())
	}
	rig.Main(m, rig.Room{})
}
