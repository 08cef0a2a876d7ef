package rig

import (
	"strings"
	"testing"
	"time"
)

// devReadyWithin is the promised time from the start of dev until its guide.
const devReadyWithin = 2 * time.Second

// LaunchDev starts dev on free ports, waits for its guide, and returns it. A late guide fails the test.
func LaunchDev(t *testing.T) (*Process, string) {
	t.Helper()
	began := time.Now()
	p := Launch(t, nil, "dev", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
	p.Await("dev's guide", func() bool { return strings.Contains(p.Stdout.String(), "Ctrl-C stops it.") })
	t.Logf("dev was ready after %v", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > devReadyWithin {
		t.Errorf("dev was ready after %v only", took)
	}
	return p, p.Stdout.String()
}
