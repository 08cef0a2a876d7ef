package differential

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// movingProxy is an address of Redis that can move to another server, as a proxy or a service address can, with or without
// its connections. It forwards one command after the other, so that it knows when a connection does not wait for an answer.
type movingProxy struct {
	listener net.Listener
	gate     sync.RWMutex // held for reading while a command is under way
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string // empty: nobody is let in
	links   map[*proxiedConn]bool
	stalled time.Time // until then no read of the feed is forwarded
}

// proxiedConn is one connection and its connection to a server.
type proxiedConn struct {
	client, server net.Conn
	replies        *bufio.Reader
	hello          []byte // the command by which the client has begun, and the server knows its protocol
}

func openProxy(t *testing.T, target string) *movingProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &movingProxy{listener: listener, target: target, links: make(map[*proxiedConn]bool)}
	f.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.serve(ctx, client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		f.cutAll("")
		f.running.Wait()
	})
	return f
}

func (f *movingProxy) addr() string { return f.listener.Addr().String() }

// hold waits until no command is in flight, and stops further commands until release.
func (f *movingProxy) hold()    { f.gate.Lock() }
func (f *movingProxy) release() { f.gate.Unlock() }

// cutAll closes every connection, and lets new ones in to a target, if that is not empty.
func (f *movingProxy) cutAll(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
	for l := range f.links {
		l.close()
	}
}

// reconnect moves every connection to another server. The proxy must be held.
func (f *movingProxy) reconnect(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
	for l := range f.links {
		l.server.Close()
		if err := l.connect(target); err != nil {
			l.close()
		}
	}
}

// stallFeed lets reads of the feed wait for a while, and nothing else.
func (f *movingProxy) stallFeed(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = time.Now().Add(d)
}

// serve forwards a connection's commands.
func (f *movingProxy) serve(ctx context.Context, client net.Conn) {
	l, err := f.link(client)
	if err != nil {
		client.Close()
		return
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.links, l)
		l.close()
	}()
	commands := bufio.NewReader(client)
	for {
		command, err := readValue(commands)
		if err != nil {
			return
		}
		if is(command, "xread") {
			f.mu.Lock()
			left := time.Until(f.stalled)
			f.mu.Unlock()
			if err := pause(ctx, left); err != nil {
				return
			}
		}
		reply, err := f.forward(l, command)
		if err != nil {
			return
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

func (f *movingProxy) link(client net.Conn) (*proxiedConn, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.target == "" {
		return nil, errors.New("nobody is let in")
	}
	l := &proxiedConn{client: client}
	if err := l.connect(f.target); err != nil {
		return nil, err
	}
	f.links[l] = true
	return l, nil
}

func (f *movingProxy) forward(l *proxiedConn, command []byte) (reply []byte, err error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if is(command, "hello") {
		l.hello = command
	}
	return l.ask(command)
}

// is reports whether a command has a name, in small letters.
func is(command []byte, name string) bool {
	return bytes.Contains(bytes.ToLower(command[:min(len(command), 20)]), []byte("\r\n"+name+"\r\n"))
}

func (l *proxiedConn) close() {
	l.client.Close()
	l.server.Close()
}

func (l *proxiedConn) connect(target string) error {
	server, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		return err
	}
	l.server, l.replies = server, bufio.NewReader(server)
	if l.hello != nil {
		_, err = l.ask(l.hello)
	}
	return err
}

func (l *proxiedConn) ask(command []byte) (reply []byte, err error) {
	if _, err := l.server.Write(command); err != nil {
		return nil, err
	}
	return readValue(l.replies)
}

// readValue reads one command or reply of RESP2 or RESP3, as it is
// (redis.io/docs/latest/develop/reference/protocol-spec).
func readValue(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	count, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	switch line[0] {
	case '$', '=', '!':
		if count < 0 {
			return line, nil
		}
		text := make([]byte, count+2)
		_, err := io.ReadFull(r, text)
		return append(line, text...), err
	case '%':
		count *= 2
	case '*', '~':
	default:
		return line, nil
	}
	for range count {
		part, err := readValue(r)
		if err != nil {
			return nil, err
		}
		line = append(line, part...)
	}
	return line, nil
}
