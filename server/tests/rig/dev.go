package rig

import (
	"strings"
	"testing"
	"time"
)

// devReadyWithin is the promised time from the start of dev until its guide.
const devReadyWithin = 2 * time.Second

// LaunchDev starts dev on free ports, waits for its guide, and returns it. It starts dev up to three times and fails the test if
// each guide is late: other tests use the processors too.
func LaunchDev(t *testing.T) (*Process, string) {
	t.Helper()
	for tries := 1; ; tries++ {
		began := time.Now()
		p := Launch(t, nil, "dev", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
		p.Await("dev's guide", func() bool { return strings.Contains(p.Stdout.String(), "Ctrl-C stops it.") })
		took := time.Since(began)
		t.Logf("dev was ready after %v", took.Round(time.Millisecond))
		if took <= devReadyWithin {
			return p, p.Stdout.String()
		}
		if tries == 3 {
			t.Errorf("dev was ready after more than %v at each of %d starts", devReadyWithin, tries)
			return p, p.Stdout.String()
		}
		p.Kill()
	}
}
