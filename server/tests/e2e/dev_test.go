package e2e

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/dev"
	"example.com/verification-status/server/tests/rig"
)

// TestDevNamesAllTakenPorts: a second dev beside the first names every taken port at once, and the flag that moves its
// ports.
func TestDevNamesAllTakenPorts(t *testing.T) {
	flags := []string{"--grpc-addr", "--webhook-addr", "--admin-addr", "--stripe-addr"}
	args, offset := []string{"dev"}, ""
	for i, flag := range flags {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		args = append(args, flag+"="+listener.Addr().String())
		if _, port, _ := net.SplitHostPort(listener.Addr().String()); i == 0 {
			number, _ := strconv.Atoi(port)
			offset = strconv.Itoa(65536 - number) // leads the first of them too far
		}
	}
	p := rig.Launch(t, nil, args...)
	if code := p.Exit(rig.Soon); code == 0 {
		t.Error("exit code 0")
	}
	for _, want := range append(flags, "is taken by another process", "--port-offset 100") {
		if !strings.Contains(p.Stderr.String(), want) {
			t.Errorf("standard error %q, want %q", p.Stderr.String(), want)
		}
	}
	p = rig.Launch(t, nil, append(args, "--port-offset", offset)...)
	if code, text := p.Exit(rig.Soon), p.Stderr.String(); code == 0 || !strings.Contains(text, "--grpc-addr") || !strings.Contains(text, "choose an offset") {
		t.Errorf("an offset that leads beyond all ports: exit code %d, %q", code, text)
	}
}

// TestDevRunsBesideAnother: --port-offset moves all four addresses.
func TestDevRunsBesideAnother(t *testing.T) {
	args := []string{"dev", "--port-offset", "1"}
	var want []string
	for _, flag := range []string{"--grpc-addr", "--webhook-addr", "--admin-addr", "--stripe-addr"} {
		listener, free := pairOfPorts(t)
		defer listener.Close()
		args, want = append(args, flag+"="+listener.Addr().String()), append(want, free)
	}
	p := rig.Launch(t, nil, args...)
	p.Await("dev's guide", func() bool { return strings.Contains(p.Stdout.String(), "Ctrl-C stops it.") })
	for _, addr := range want {
		if !strings.Contains(p.Stdout.String(), addr) {
			t.Errorf("nothing listens on %s: %s", addr, p.Stdout.String())
		}
	}
}

// pairOfPorts takes a port whose successor is free.
func pairOfPorts(t *testing.T) (taken net.Listener, free string) {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free = net.JoinHostPort("127.0.0.1", strconv.Itoa(first.Addr().(*net.TCPAddr).Port+1))
		if second, err := net.Listen("tcp", free); err == nil {
			_ = second.Close()
			return first, free
		}
		_ = first.Close()
	}
	t.Fatal("no two free ports in a row")
	return nil, ""
}

// TestDevAtInfoDoesNotMislead: the log at level info has no line about the embedded Redis on which a developer would act.
func TestDevAtInfoDoesNotMislead(t *testing.T) {
	p := rig.Launch(t, nil, "dev", "--log-level=info", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
	p.Await("the first event", func() bool { return strings.Contains(p.Stderr.String(), "event kept") })
	for _, misleading := range []string{"does not tell", "noeviction", "6.2", "appendonly", "level=WARN"} {
		if strings.Contains(p.Stderr.String(), misleading) {
			t.Errorf("the log has %q: %s", misleading, p.Stderr.String())
		}
	}
}

// TestDevSendsThinEvents: with --payload-style thin every event is a thin one, and it is applied.
func TestDevSendsThinEvents(t *testing.T) {
	p := rig.Launch(t, nil, "dev", "--payload-style=thin", "--log-level=info", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
	p.Await("the first event", func() bool { return strings.Contains(p.Stderr.String(), "event kept") })
	if !strings.Contains(p.Stderr.String(), "type=v1.identity.verification_session.created") {
		t.Errorf("the first event is no thin one: %s", p.Stderr.String())
	}
}

// TestDevSaysWhatIsWrong: a taken port and an address that others reach are one sentence each.
func TestDevSaysWhatIsWrong(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	free := map[string]string{"--grpc-addr": "127.0.0.1:0", "--webhook-addr": "127.0.0.1:0", "--admin-addr": "127.0.0.1:0", "--stripe-addr": "127.0.0.1:0"}
	for flag := range free {
		for addr, want := range map[string]string{
			listener.Addr().String(): "is taken by another process",
			"0.0.0.0:0":              "dev listens on this machine only",
			"nowhere":                "give 127.0.0.1 and a port",
		} {
			args := []string{"dev"}
			for other, value := range free {
				if other == flag {
					value = addr
				}
				args = append(args, other+"="+value)
			}
			p := rig.Launch(t, nil, args...)
			if code := p.Exit(rig.Soon); code == 0 {
				t.Errorf("%s=%s: exit code 0", flag, addr)
			}
			text := strings.TrimSpace(p.Stderr.String())
			if !strings.Contains(text, want) || strings.Contains(text, "\n") || p.Stdout.String() != "" {
				t.Errorf("%s=%s: it says %q and %q", flag, addr, text, p.Stdout.String())
			}
		}
	}
}

// TestDevLeavesNothingBehind: in this very process, so that the goroutines can be counted after it.
func TestDevLeavesNothingBehind(t *testing.T) {
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		guide, out := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			const free = "127.0.0.1:0"
			ended <- dev.Run(ctx, dev.Config{GRPCAddr: free, WebhookAddr: free, AdminAddr: free, StripeAddr: free, LogLevel: "warn"},
				slog.New(slog.DiscardHandler), out)
			_ = out.Close()
		}()
		first := make([]byte, 64<<10)
		if _, err := guide.Read(first); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("dev ended with %v", err)
			}
		case <-time.After(rig.Soon):
			t.Fatal("dev does not end")
		}
	}
}
