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

// front is an address in front of Redis that can be moved to another server, as a proxy or a service
// address can: with the connections, or without. It forwards one command after the other, so that it knows
// when a connection waits for no answer.
type front struct {
	listener net.Listener
	gate     sync.RWMutex // held for reading while a command is under way
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string // empty: nobody is let in
	links   map[*link]bool
	stalled time.Time // until then no read of the feed is forwarded
}

// link is one connection and what it is forwarded to.
type link struct {
	client, server net.Conn
	replies        *bufio.Reader
	hello          []byte // the command by which the client has begun, and the server knows its protocol
}

func openFront(t *testing.T, target string) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &front{listener: listener, target: target, links: make(map[*link]bool)}
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

func (f *front) addr() string { return f.listener.Addr().String() }

// hold waits until no command is under way, and lets none pass until release.
func (f *front) hold()    { f.gate.Lock() }
func (f *front) release() { f.gate.Unlock() }

// cutAll closes every connection, and lets new ones in to a target, if that is not empty.
func (f *front) cutAll(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
	for l := range f.links {
		l.close()
	}
}

// reconnect moves every connection to another server. It must be held.
func (f *front) reconnect(target string) {
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
func (f *front) stallFeed(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = time.Now().Add(d)
}

// serve forwards a connection's commands.
func (f *front) serve(ctx context.Context, client net.Conn) {
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

func (f *front) link(client net.Conn) (*link, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.target == "" {
		return nil, errors.New("nobody is let in")
	}
	l := &link{client: client}
	if err := l.connect(f.target); err != nil {
		return nil, err
	}
	f.links[l] = true
	return l, nil
}

func (f *front) forward(l *link, command []byte) (reply []byte, err error) {
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

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

func (l *link) connect(target string) error {
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

func (l *link) ask(command []byte) (reply []byte, err error) {
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
