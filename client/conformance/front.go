package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// front is one address to which the client connects: a proxy on TCP that sees the frames of HTTP/2 (RFC 9113) on their way to
// the client. Its methods are safe for concurrent use.
type front struct {
	backend string
	address string
	cutter  *cutter
	onCut   func(name string) // is called before a connection is cut

	listener net.Listener
	working  sync.WaitGroup

	mu     sync.Mutex
	isDown bool
	conns  map[*pair]bool
	liar   *liar // not nil: it answers in place of the backend
}

// pair is one connection, and the one behind it.
type pair struct {
	client, server net.Conn

	writing sync.Mutex // held for each frame to the client
	hung    bool       // frames to the client are lost
}

// name returns the name of the connection to the server. The port alone is not unique: a connection to another server can get it.
func (p *pair) name() string { return connectionName(p.server.LocalAddr(), p.server.RemoteAddr()) }

func connectionName(from, to net.Addr) string { return from.String() + " " + to.String() }

func (p *pair) close() {
	_ = p.client.Close()
	_ = p.server.Close()
}

// newFront returns a front that is up, at a free port.
func newFront(backend string, c *cutter, onCut func(string)) (*front, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the kit cannot listen: %w", err)
	}
	f := &front{backend: backend, address: listener.Addr().String(), listener: listener, cutter: c, onCut: onCut, conns: make(map[*pair]bool)}
	f.working.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.working.Go(func() { f.serve(conn) })
		}
	})
	return f, nil
}

// up ends down.
func (f *front) up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isDown = false
}

// down resets all connections, and each further one at once, as a balancer without a server does. It keeps the port: otherwise a
// script that runs side by side could get it, and the clients of both would meet.
func (f *front) down() {
	f.mu.Lock()
	f.isDown = true
	f.mu.Unlock()
	f.cut()
}

// cut closes all connections.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.conns {
		f.onCut(p.name())
		p.close()
	}
}

func (f *front) close() {
	_ = f.listener.Close()
	f.down()
	f.mu.Lock()
	l := f.liar
	f.mu.Unlock()
	if l != nil {
		l.close()
	}
	f.working.Wait()
}

// lie makes a liar answer on all further connections; nil ends that.
func (f *front) lie(l *liar) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.liar = l
}

func (f *front) serve(conn net.Conn) {
	f.mu.Lock()
	l, isDown := f.liar, f.isDown
	f.mu.Unlock()
	switch {
	case isDown:
		reset(conn)
		return
	case l != nil:
		l.take(conn)
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", f.backend)
	if err != nil {
		reset(conn)
		return
	}
	p := &pair{client: conn, server: server}
	if !f.add(p) {
		_ = server.Close()
		reset(conn)
		return
	}
	f.working.Go(func() { _, _ = io.Copy(server, conn); p.close() })
	f.frames(p)
	p.close()
	f.mu.Lock()
	delete(f.conns, p)
	f.mu.Unlock()
}

// add adds a connection. It returns false if the address is down by now, or a liar answers.
func (f *front) add(p *pair) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isDown || f.liar != nil {
		return false
	}
	f.conns[p] = true
	return true
}

// reset closes a connection so that its other side gets an error.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Sizes and numbers of frames (RFC 9113, 4.1 and 6).
const (
	frameHeader   = 9
	frameData     = 0
	frameGoAway   = 7
	messagePrefix = 5 // of gRPC: compressed or not, and the length
	// verificationTag begins a WatchStatusResponse with a verification: field 1, of a length. A heartbeat begins with its token.
	verificationTag = 1<<3 | 2
)

// frames passes frames on to the client, one after the other, until a connection ends or is cut.
func (f *front) frames(p *pair) {
	for {
		frame := make([]byte, frameHeader, 1<<10)
		if _, err := io.ReadFull(p.server, frame); err != nil {
			return
		}
		length := int(frame[0])<<16 | int(frame[1])<<8 | int(frame[2])
		frame = append(frame, make([]byte, length)...)
		if _, err := io.ReadFull(p.server, frame[frameHeader:]); err != nil {
			return
		}
		pass, cut := len(frame), false
		if frame[3] == frameData && length > messagePrefix && frame[frameHeader+messagePrefix] == verificationTag {
			pass, cut = f.cutter.of(len(frame), func() { f.onCut(p.name()) })
		}
		p.writing.Lock()
		hung := p.hung
		if !hung {
			_, _ = p.client.Write(frame[:pass])
		}
		p.writing.Unlock()
		switch {
		case cut && pass < len(frame):
			reset(p.client)
			return
		case cut:
			p.leave()
			return
		}
	}
}

// leaveWithin bounds the wait until a client has left a connection that ends.
const leaveWithin = 2 * time.Second

// leave ends the connection, so that the client gets what was sent before.
func (p *pair) leave() {
	conn, ok := p.client.(*net.TCPConn)
	if !ok {
		return
	}
	_ = conn.CloseWrite()
	// The client closes its side when it has read the end. A reset before could overtake what was sent.
	_ = conn.SetReadDeadline(time.Now().Add(leaveWithin))
	_, _ = io.Copy(io.Discard, conn)
}

// goAway tells all clients to open no more streams on their connections (RFC 9113, 6.8).
func (f *front) goAway() {
	frame := make([]byte, frameHeader+8)
	frame[2], frame[3] = 8, frameGoAway
	binary.BigEndian.PutUint32(frame[frameHeader:], 1<<31-1) // all streams so far are served; no error
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.conns {
		p.writing.Lock()
		_, _ = p.client.Write(frame)
		p.writing.Unlock()
	}
}

// awaitNone waits until no connection is left, for this time at most.
func (f *front) awaitNone(within time.Duration) {
	for deadline := time.Now().Add(within); f.count() > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
}

func (f *front) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// hang loses all frames to the clients of the present connections, which stay open.
func (f *front) hang() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.conns {
		p.writing.Lock()
		p.hung = true
		p.writing.Unlock()
	}
}
