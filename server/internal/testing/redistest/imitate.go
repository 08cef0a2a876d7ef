package redistest

import (
	"os/exec"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Any runs an empty Redis until the test ends, and returns its address. It is a real server if Program is installed, because
// the imitation takes several times as long under the race detector.
func Any(t testing.TB) (addr string) {
	t.Helper()
	if _, err := exec.LookPath(Program()); err != nil {
		return Imitate(t).Addr()
	}
	return Start(t).Addr
}

// Imitate runs an embedded imitation of Redis until the test ends.
func Imitate(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	imitation := miniredis.RunT(t)
	// The imitation's own INFO panics while the server closes, and no code here reads its answer. Each new connection begins
	// with INFO, and some connections are still being opened when a test ends.
	imitation.Server().SetPreHook(func(peer *server.Peer, command string, _ ...string) bool {
		if command == "INFO" {
			peer.WriteBulk("")
		}
		return command == "INFO"
	})
	return imitation
}
