package e2e

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// serveNames is the cluster's DNS until the test ends: every name has the addresses of these.
func serveNames(t *testing.T, in func() []*rig.Process) (addr string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		query := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := answerName(query[:n], in()); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		await.One(t, served)
	})
	return conn.LocalAddr().String()
}

// answerName answers one question of DNS. Of other kinds than A there is nothing.
func answerName(query []byte, in []*rig.Process) ([]byte, error) {
	var asked dnsmessage.Message
	if err := asked.Unpack(query); err != nil || len(asked.Questions) != 1 {
		return nil, err
	}
	question := asked.Questions[0]
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: asked.ID, Response: true, Authoritative: true, RecursionDesired: asked.RecursionDesired},
		Questions: asked.Questions,
	}
	for _, p := range in {
		if question.Type != dnsmessage.TypeA {
			break
		}
		host, _, err := net.SplitHostPort(p.GRPC)
		if err != nil {
			return nil, err
		}
		answer.Answers = append(answer.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(host).To4())},
		})
	}
	return answer.Pack()
}

// serveIngress is the ingress for Stripe's webhooks, until the test ends. It gives each webhook to one of the replicas,
// keeps its connections to them open, and sends none twice.
func serveIngress(t *testing.T, in func() []*rig.Process) (target string) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 50 * time.Second}
	var turn atomic.Uint64
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			replicas := in()
			r.Out.URL, _ = url.Parse(replicas[turn.Add(1)%uint64(len(replicas))].Webhook)
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, "to "+r.URL.Host+": "+err.Error(), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL + "/webhook"
}
