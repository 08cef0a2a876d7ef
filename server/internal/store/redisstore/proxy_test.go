package redisstore

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// proxy is between a client and a server. If armed, it waits until the server has answered the next request that
// contains a text, drops the answer and closes the connection.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex // guards what follows
	text  []byte
	times int
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for conn := range p.conns {
			conn.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// loseAnswers makes the next requests with a text, times of them, lose their answers.
func (p *proxy) loseAnswers(text string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.times = []byte(text), times
}

func (p *proxy) lost() (left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		var lose sync.Mutex // guards losing: whether this connection's next answer is lost
		losing := false
		p.wg.Go(func() {
			copyChunks(server, client, func(chunk []byte) bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.times > 0 && bytes.Contains(chunk, p.text) {
					p.times--
					lose.Lock()
					losing = true
					lose.Unlock()
				}
				return true
			})
		})
		p.wg.Go(func() {
			copyChunks(client, server, func([]byte) bool {
				lose.Lock()
				defer lose.Unlock()
				return !losing
			})
		})
	}
}

// copyChunks copies until keep returns false or a side closes, and then closes both.
func copyChunks(to, from net.Conn, keep func([]byte) bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !keep(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
