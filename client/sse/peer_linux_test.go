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
		limits := make(chan int, 10)
		web := httptest.NewUnstartedServer(http.NotFoundHandler())
		web.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			ctx = ConnContext(ctx, conn)
			limits <- userTimeout(t, conn)
			return ctx
		}
		start(web)
		response, err := web.Client().Get(web.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got, want := <-limits, int(peerTimeout.Milliseconds()); got != want {
			t.Errorf("TCP_USER_TIMEOUT is %d ms; want %d", got, want)
		}
		web.Close()
	}
}

// userTimeout reads TCP_USER_TIMEOUT.
func userTimeout(t *testing.T, conn net.Conn) (limit int) {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	var failed error
	err = raw.Control(func(fd uintptr) { limit, failed = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) })
	if err != nil || failed != nil {
		t.Error(err, failed)
	}
	return limit
}
