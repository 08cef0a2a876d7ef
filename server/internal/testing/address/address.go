// Package address finds addresses for servers that tests start, stop and start again. It is for tests alone.
package address

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// The ports are below those that Linux gives to connections and to listeners on port 0, 32768 and up
// (ip_local_port_range): it would give one of those to somebody else while the test's server is stopped.
const (
	firstPort = 15_000
	lastPort  = 32_000
)

// Free returns an address of loopback on which nothing listens. Another test can take it before the caller does, with the
// chance of one in thousands.
func Free(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.N(lastPort-firstPort))
		listener, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			_ = listener.Close()
			return addr
		case !errors.Is(err, syscall.EADDRINUSE):
			t.Fatal(err)
		}
	}
	t.Fatalf("no free port from %d to %d", firstPort, lastPort)
	return ""
}
