package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// front is one address to which the client connects: a proxy on TCP that sees the frames of HTTP/2 (RFC 9113) on their way to
// the client. Its methods are safe for concurrent use.
type front struct {
	backend string
	address string
	cutter  *cutter
	onCut   func(server string) // is called before a connection is cut

	mu       sync.Mutex
	listener net.Listener // nil: the address is down
	conns    map[*pair]bool
	liar     *liar // not nil: it answers in place of the backend
	working  sync.WaitGroup
}

// pair is one connection, and the one behind it.
type pair struct {
	client, server net.Conn

	writing sync.Mutex // held for each frame to the client
	hung    bool       // frames to the client are lost
}

func (p *pair) close() {
	_ = p.client.Close()
	_ = p.server.Close()
}

// relisten bounds the wait for a port that another program has taken meanwhile.
const relisten = 5 * time.Second

// up listens at the address, at a free port the first time.
func (f *front) up() error {
	var listener net.Listener
	var err error
	for deadline := time.Now().Add(relisten); ; time.Sleep(time.Millisecond) {
		listener, err = net.Listen("tcp", f.address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the kit cannot listen: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.address, f.listener = listener.Addr().String(), listener
	f.working.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.working.Go(func() { f.serve(listener, conn) })
		}
	})
	return nil
}

// down closes the address and all its connections, as the end of its machine does.
func (f *front) down() {
	f.mu.Lock()
	listener := f.listener
	f.listener = nil
	f.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	f.cut()
}

// cut closes all connections.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.conns {
		f.onCut(p.server.LocalAddr().String())
		p.close()
	}
}

func (f *front) close() {
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

func (f *front) serve(listener net.Listener, conn net.Conn) {
	f.mu.Lock()
	l, live := f.liar, f.listener == listener
	f.mu.Unlock()
	switch {
	case !live:
		_ = conn.Close()
		return
	case l != nil:
		l.take(conn)
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", f.backend)
	if err != nil {
		_ = conn.Close()
		return
	}
	p := &pair{client: conn, server: server}
	f.mu.Lock()
	live = f.listener == listener && f.liar == nil
	if live {
		f.conns[p] = true
	}
	f.mu.Unlock()
	if live {
		f.working.Go(func() { _, _ = io.Copy(server, conn); p.close() })
		f.frames(p)
	}
	p.close()
	f.mu.Lock()
	delete(f.conns, p)
	f.mu.Unlock()
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
			pass, cut = f.cutter.of(len(frame), func() { f.onCut(p.server.LocalAddr().String()) })
		}
		p.writing.Lock()
		hung := p.hung
		if !hung {
			_, _ = p.client.Write(frame[:pass])
		}
		p.writing.Unlock()
		if cut {
			p.abort(pass == len(frame))
			return
		}
	}
}

// abort ends the connection to the client. If it is whole, the client gets what was sent before; otherwise it can be lost.
func (p *pair) abort(whole bool) {
	conn, ok := p.client.(*net.TCPConn)
	switch {
	case !ok:
	case whole:
		_ = conn.CloseWrite()
		// The client closes its side when it has read the end. The goroutine for the other direction sees that.
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
	default:
		_ = conn.SetLinger(0)
	}
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

// cutter cuts the connection at one update of all that pass.
type cutter struct {
	mu    sync.Mutex
	where string // before, in or after; "": nowhere
	left  int
	part  int // of the frame in a thousand
	fired chan struct{}
}

// arm cuts before, in or after the n-th update from now on. part says where, in thousandths of the frame. The channel closes
// when it is done.
func (c *cutter) arm(where string, n, part int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where, c.left, c.part, c.fired = where, n, part, make(chan struct{})
	return c.fired
}

// of returns how much of the frame of an update passes, and whether the connection is cut then. It calls cutting before the
// channel of arm closes.
func (c *cutter) of(size int, cutting func()) (pass int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.where == "" {
		return size, false
	}
	if c.left--; c.left > 0 {
		return size, false
	}
	where := c.where
	c.where = ""
	cutting()
	close(c.fired)
	switch where {
	case "before":
		return 0, true
	case "in":
		return 1 + (size-2)*c.part/1000, true
	}
	return size, true
}
