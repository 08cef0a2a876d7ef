package sse

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
)

// TestDeadPeersAreNoticedByTheKernel: with TLS and without it.
func TestDeadPeersAreNoticedByTheKernel(t *testing.T) {
	for _, start := range []func(*httptest.Server){(*httptest.Server).Start, (*httptest.Server).StartTLS} {
		conns := make(chan net.Conn, 1)
		web := httptest.NewUnstartedServer(http.NotFoundHandler())
		web.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			ctx = ConnContext(ctx, conn)
			conns <- conn
			return ctx
		}
		start(web)
		response, err := web.Client().Get(web.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		conn := <-conns
		if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = tls.NetConn()
		}
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if failed := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) }); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		if want := int(peerTimeout.Milliseconds()); got != want {
			t.Errorf("TCP_USER_TIMEOUT is %d ms; want %d", got, want)
		}
		web.Close()
	}
}
