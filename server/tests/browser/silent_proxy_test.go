package browser

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// silentProxy stands between a browser and the page's server.
type silentProxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns []*silentConn
}

// silentConn is one connection, both ends of it.
type silentConn struct {
	ends   [2]net.Conn
	mu     sync.Mutex
	events bool // it carries the page's events
	dead   bool // what arrives vanishes, and no end is told
}

func newSilentProxy(t testing.TB, target string) *silentProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &silentProxy{listener: listener, target: target}
	l.running.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			c.close()
		}
		l.mu.Unlock()
		l.running.Wait()
	})
	return l
}

func (l *silentProxy) url() string { return "http://" + l.listener.Addr().String() }

func (l *silentProxy) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		c := &silentConn{ends: [2]net.Conn{near, far}}
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
		l.running.Go(func() { c.copy(0, 1) })
		l.running.Go(func() { c.copy(1, 0) })
	}
}

// fallSilent makes black holes of the connections that carry events. Others work: a browser that took one of its
// idle connections for the next stream would have to find out about that one too.
func (l *silentProxy) fallSilent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.mu.Lock()
		c.dead = c.dead || c.events
		c.mu.Unlock()
	}
}

func (c *silentConn) copy(from, to int) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := c.ends[from].Read(buffer)
		c.mu.Lock()
		if from == 0 && n > 0 {
			c.events = bytes.HasPrefix(buffer[:n], []byte("GET /events "))
		}
		dead := c.dead
		c.mu.Unlock()
		if err != nil {
			if !dead {
				c.close()
			}
			return
		}
		if dead {
			_, _ = io.Copy(io.Discard, c.ends[from])
			return
		}
		if _, err := c.ends[to].Write(buffer[:n]); err != nil {
			c.close()
			return
		}
	}
}

func (c *silentConn) close() {
	_ = c.ends[0].Close()
	_ = c.ends[1].Close()
}
