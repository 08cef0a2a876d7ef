package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// liar is a proxy that answers calls itself, in HTTP/2 and not in gRPC. Its answers to health checks are not counted.
type liar struct {
	status int
	http   *http.Server
	conns  chan net.Conn
	closed chan struct{} // closed when it accepts no more connections
	done   chan struct{} // closed when its connections are closed too
	ending sync.Once

	mu   sync.Mutex
	left int
}

// page is what a proxy says.
const page = "<!DOCTYPE html>\n<html><head><title>Something is wrong</title></head><body><h1>This is not gRPC.</h1></body></html>\n"

// newLiar returns a liar that calls over after n answers, and then closes its connections.
func newLiar(status string, n int, over func()) (*liar, error) {
	number, err := strconv.Atoi(status)
	if err != nil {
		return nil, err
	}
	l := &liar{status: number, conns: make(chan net.Conn), closed: make(chan struct{}), done: make(chan struct{}), left: n}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.answer(w, r, over) }), Protocols: protocols, ReadHeaderTimeout: time.Minute}
	go func() { _ = l.http.Serve(l) }() // ends with close
	return l, nil
}

func (l *liar) answer(w http.ResponseWriter, r *http.Request, over func()) {
	if !strings.Contains(r.URL.Path, "grpc.health") {
		l.mu.Lock()
		l.left--
		last := l.left == 0
		l.mu.Unlock()
		if last {
			over()
			defer func() { go l.close() }()
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(l.status)
	_, _ = io.WriteString(w, page)
}

// leftover returns how many calls it would still answer.
func (l *liar) leftover() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.left, 0)
}

// close lets answers under way end, and closes all connections.
func (l *liar) close() {
	l.ending.Do(func() {
		close(l.closed)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.http.Shutdown(ctx); err != nil {
			_ = l.http.Close()
		}
		close(l.done)
	})
	<-l.done
}

// take passes a connection to the liar.
func (l *liar) take(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (l *liar) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, errors.New("the liar is closed")
	}
}

// Close implements net.Listener. The liar's close has closed it before.
func (l *liar) Close() error { return nil }

// Addr implements net.Listener.
func (l *liar) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
