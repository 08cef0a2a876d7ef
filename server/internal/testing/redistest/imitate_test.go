package redistest

import (
	"net"
	"sync"
	"testing"
	"time"

	bounded "example.com/verification-status/server/internal/testing/await"
)

// An imitation that closes while connections begin must not end the test process.
func TestAnImitationIsClosedWhileConnectionsBegin(t *testing.T) {
	for range 200 {
		imitation := Imitate(t)
		address := imitation.Addr()
		var clients sync.WaitGroup
		begun := make(chan struct{}, 4) // one for each client
		for range cap(begun) {
			clients.Go(func() {
				conn, err := net.DialTimeout("tcp", address, time.Second)
				begun <- struct{}{}
				if err != nil {
					return // closed before
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Second))
				answer := make([]byte, 64)
				for range 100 {
					if _, err := conn.Write([]byte("*1\r\n$4\r\nINFO\r\n")); err != nil {
						return
					}
					if _, err := conn.Read(answer); err != nil {
						return
					}
				}
			})
		}
		bounded.One(t, begun)
		imitation.Close()
		bounded.All(t, &clients)
	}
}
