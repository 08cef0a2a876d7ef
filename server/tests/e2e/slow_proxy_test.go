package e2e

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowProxy stands between a server and Redis, and makes each answer late.
type slowProxy struct {
	listener net.Listener
	target   string
	late     atomic.Int64 // by how much, in nanoseconds
	running  sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func newSlowProxy(t testing.TB, target string) *slowProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &slowProxy{listener: listener, target: target}
	l.running.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.running.Wait()
	})
	return l
}

func (l *slowProxy) addr() string { return l.listener.Addr().String() }

// set makes answers late by that much from now on.
func (l *slowProxy) set(late time.Duration) { l.late.Store(int64(late)) }

func (l *slowProxy) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		redis, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, client, redis)
		l.mu.Unlock()
		l.running.Go(func() { l.copy(redis, client, false) })
		l.running.Go(func() { l.copy(client, redis, true) })
	}
}

// copy forwards bytes, late if asked to, until either side is closed.
func (l *slowProxy) copy(to, from net.Conn, late bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if late {
			time.Sleep(time.Duration(l.late.Load()))
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
