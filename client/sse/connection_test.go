package sse

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestTheStreamEndsWithTheUsersSession(t *testing.T) {
	session, signOut := context.WithCancel(t.Context())
	s := newSite(t, func(s *site) {
		s.times.live = time.Hour // nothing else wakes the stream
		s.Authorize = func(*http.Request) (Viewer, error) {
			if session.Err() != nil {
				return Viewer{}, ErrNotSignedIn
			}
			return Viewer{User: "ada", Subject: client.Session("vs_1"), Session: session}, nil
		}
	})
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status")
	signOut()
	b.want("end", `"reason":"signed_out"`)
	b.wantEnd()
	b.connect()
	if b.response.StatusCode != http.StatusUnauthorized {
		t.Errorf("answered %d after the end of the session", b.response.StatusCode)
	}
}

func TestTheStreamEndsWithTheServer(t *testing.T) {
	base, stop := context.WithCancel(t.Context())
	s := newSite(t, func(s *site) { s.web.Config.BaseContext = func(net.Listener) context.Context { return base } })
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status")
	stop()
	b.wantEnd() // and no word of signing out
}

func TestAWriterThatCannotStreamIsRefused(t *testing.T) {
	s := newSite(t)
	recorder := httptest.NewRecorder() // knows no deadlines
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	if recorder.Code != http.StatusInternalServerError || !strings.Contains(s.logged.String(), "Unwrap") {
		t.Errorf("answered %d, logged %q", recorder.Code, s.logged)
	}
}

// TestASilentStreamStaysOpen: neither the deadline of a write nor the server's ReadTimeout ends a stream on which nothing is sent.
func TestASilentStreamStaysOpen(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.times = times{live: 400 * time.Millisecond, write: 300 * time.Millisecond}
				s.web.Config.ReadTimeout = time.Second // a TLS handshake has to be done in it
				if protocol == "HTTP/2.0" {
					s.web.EnableHTTP2 = true
					s.web.StartTLS()
				}
			})
			s.set(requiresInput)
			b := s.browser(t)
			b.connect()
			if b.response.Proto != protocol {
				t.Fatalf("speaks %s", b.response.Proto)
			}
			b.want("status")
			s.backend.Silence(true)
			for range 3 { // behind pauses that are longer than a write may take, and together than a request
				b.want("stale")
			}
			s.backend.Silence(false)
			s.set(processing)
			for event, ok := b.next(); event.name != "status"; event, ok = b.next() {
				if !ok {
					t.Fatal("the stream ended")
				}
			}
		})
	}
}

func TestABrowserThatTakesNothingIsEnded(t *testing.T) {
	ended := make(chan struct{})
	s := newSite(t, func(s *site) {
		s.times.write = 50 * time.Millisecond
		handler := s.web.Config.Handler
		s.web.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			defer close(ended)
			handler.ServeHTTP(rw, r)
		})
		s.web.Config.ConnState = func(conn net.Conn, state http.ConnState) {
			if tcp, ok := conn.(*net.TCPConn); ok && state == http.StateNew {
				_ = tcp.SetWriteBuffer(4 << 10)
			}
		}
	})
	s.set(requiresInput)
	conn, err := net.Dial("tcp", s.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.backend.AwaitStreams(t.Context(), 1); err != nil { // else it begins with the last status alone
		t.Fatal(err)
	}
	v := &verificationv1.Verification{SessionId: "vs_1", LastError: &verificationv1.VerificationError{}}
	reason := strings.Repeat("x", 10_000)
	for i := range 600 { // 6 MB: more than the buffers in between
		v.LastError.Reason = reason + string(rune('a'+i%2))
		s.backend.Set(v)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream of a browser that takes nothing continues")
	}
}
