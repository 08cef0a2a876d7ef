//go:build faults

package faults

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// cut says where a connection to Redis is cut around a commit.
type cut int

const (
	cutBefore  cut = iota // nothing of the request arrives
	cutRequest            // half of the request arrives
	cutAnswer             // the commit is made, half of the answer arrives
	cutAfter              // the commit is made, nothing of the answer arrives
	cutWays
)

var cutNames = [cutWays]string{"before a commit", "in a commit's request", "in a commit's answer", "after a commit"}

// cutProxy stands between one replica and Redis.
type cutProxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	way   cut
	armed int // commits that are still to be cut
	made  int // cuts so far
	conns map[net.Conn]bool
}

func newCutProxy(t testing.TB, target string) *cutProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutProxy{listener: listener, target: target, conns: make(map[net.Conn]bool)}
	c.running.Go(c.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		c.cutAll()
		c.running.Wait()
	})
	return c
}

func (c *cutProxy) addr() string { return c.listener.Addr().String() }

// arm makes the next commits lose their connection.
func (c *cutProxy) arm(way cut, commits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.way, c.armed = way, commits
}

func (c *cutProxy) cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// cutAll cuts every connection that is open now.
func (c *cutProxy) cutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cutProxy) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.conns[client], c.conns[server] = true, true
		c.mu.Unlock()
		link := &cutConn{cutProxy: c, client: client, server: server}
		c.running.Go(link.requests)
		c.running.Go(link.answers)
	}
}

// cutConn is one connection through a cutter.
type cutConn struct {
	*cutProxy
	client, server net.Conn

	mu     sync.Mutex
	losing *cut // what happens to the next answer
}

func (l *cutConn) close() {
	_, _ = l.client.Close(), l.server.Close()
	l.cutProxy.mu.Lock()
	defer l.cutProxy.mu.Unlock()
	delete(l.conns, l.client)
	delete(l.conns, l.server)
}

// fate says whether the commit in a request is cut, and how.
func (l *cutConn) fate(request []byte) (way cut, doomed bool) {
	lower := bytes.ToLower(request[:min(len(request), 64)])
	if !bytes.Contains(lower, []byte("eval")) || !bytes.Contains(request, []byte(":feed")) {
		return 0, false
	}
	l.cutProxy.mu.Lock()
	defer l.cutProxy.mu.Unlock()
	if l.armed == 0 {
		return 0, false
	}
	l.armed--
	l.made++
	return l.way, true
}

func (l *cutConn) requests() {
	defer l.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		way, doomed := l.fate(buffer[:n])
		switch {
		case doomed && way == cutBefore:
			return
		case doomed && way == cutRequest:
			_, _ = l.server.Write(buffer[:n/2])
			return
		case doomed:
			l.mu.Lock()
			l.losing = &way
			l.mu.Unlock()
		}
		if _, err := l.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *cutConn) answers() {
	defer l.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		losing := l.losing
		l.mu.Unlock()
		if losing != nil {
			if *losing == cutAnswer {
				_, _ = l.client.Write(buffer[:n/2])
			}
			return
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
