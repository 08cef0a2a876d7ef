package redistest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Imitate runs an embedded imitation of Redis until the test ends.
func Imitate(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	imitation := miniredis.RunT(t)
	// Its own INFO, which tells nothing that anybody here reads, panics in a server that is being closed. Each new
	// connection begins with INFO, and some are still being made when a test ends.
	imitation.Server().SetPreHook(func(peer *server.Peer, command string, _ ...string) bool {
		if command == "INFO" {
			peer.WriteBulk("")
		}
		return command == "INFO"
	})
	return imitation
}
