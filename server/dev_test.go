package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/dev"
)

// devReadyWithin is the promise: so soon after the start of the process there is something to try.
const devReadyWithin = 2 * time.Second

// launchDev starts dev on free ports and waits for its guide.
func launchDev(t *testing.T) (*process, string) {
	t.Helper()
	began := time.Now()
	p := launch(t, nil, "dev", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
	p.await("dev's guide", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C stops it.") })
	t.Logf("dev was ready after %v", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > devReadyWithin {
		t.Errorf("dev was ready after %v only", took)
	}
	return p, p.stdout.String()
}

// TestDevWalk follows the guide as a stranger would: refused, retried, verified.
func TestDevWalk(t *testing.T) {
	p, guide := launchDev(t)
	if !strings.Contains(guide, "Nothing is kept") {
		t.Errorf("the guide does not say that nothing is kept:\n%s", guide)
	}
	g := newGuided(t, guide)
	var watch verificationv1.WatchStatusRequest
	stream, err := g.grpcurl("WatchStatus", &watch).WatchStatus(within(t, soon), &watch)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	next := func(status verificationv1.Status) *verificationv1.Verification {
		t.Helper()
		response, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		v := response.GetVerification()
		seen = append(seen, v.GetStatus().String())
		if v.GetStatus() != status {
			t.Fatalf("%v; want %v next: %v", seen, status, v)
		}
		return v
	}
	next(verificationv1.Status_STATUS_REQUIRES_INPUT)
	g.curl(g.command("curl", "outcome=document_expired"))
	next(verificationv1.Status_STATUS_PROCESSING)
	refused := next(verificationv1.Status_STATUS_REQUIRES_INPUT)
	if e := refused.GetLastError(); e.GetCode() != verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED || e.GetReason() == "" ||
		e.GetCategory() != verificationv1.ErrorCategory_ERROR_CATEGORY_DOCUMENT || !refused.GetRetry().GetAllowed() {
		t.Errorf("refused with %v", refused)
	}
	var again verificationv1.RetryVerificationRequest
	granted := mustRetry(t, g.grpcurl("RetryVerification", &again), &again)
	next(verificationv1.Status_STATUS_REQUIRES_INPUT) // the grant is a change too
	if !strings.Contains(guide, "curl -d outcome=verified URL") {
		t.Errorf("the guide does not say how to use the new link")
	}
	g.curl([]string{"curl", "-d", "outcome=verified", granted.GetUrl()})
	next(verificationv1.Status_STATUS_PROCESSING)
	if v := next(verificationv1.Status_STATUS_VERIFIED); !v.GetSettled() || v.GetRetry().GetFailedAttempts() != 1 {
		t.Errorf("verified as %v", v)
	}
	checkLines(t, p, g)
	g.checkHistory()
	g.checkAnother()
	checkReflection(t, g.conn)
	if log := p.stderr.String(); log != "" {
		t.Errorf("dev warns on a quiet day: %s", log)
	}
	if strings.Count(p.stdout.String(), "_secret_") != 0 || strings.Contains(p.stdout.String(), granted.GetUrl()) || strings.Contains(p.stdout.String(), "whsec_") {
		t.Errorf("dev prints more than its own demo link and key:\n%s", p.stdout.String())
	}
	p.signal(syscall.SIGINT)
	if code := p.exit(8 * time.Second); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
}

// checkLines wants a line in plain words, in this order, for each thing that the walk did.
func checkLines(t *testing.T, p *process, g *guided) {
	t.Helper()
	var subject struct {
		ID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(g.command("grpcurl", "/WatchStatus")[3]), &subject); err != nil {
		t.Fatal(err)
	}
	const webhook = "webhook  verification_session."
	for _, line := range []string{
		webhook + "created  " + subject.ID + " → requires_input, revision 1",
		"watch    " + subject.ID + ": opened at requires_input, revision 1",
		webhook + "processing  " + subject.ID + " → processing, revision 2",
		webhook + "requires_input  " + subject.ID + " → requires_input (document_expired), revision 3",
		"retry    " + subject.ID + " granted: a fresh link, retries left: 1, revision 4",
		webhook + "processing  " + subject.ID + " → processing, revision 5",
		webhook + "verified  " + subject.ID + " → verified, revision 6",
	} {
		p.await("the line "+line, func() bool { return strings.Contains(p.stdout.String(), "  "+line+"\n") })
	}
	_, lines, _ := strings.Cut(p.stdout.String(), "What arrives is shown below.\n\n")
	for line := range strings.Lines(lines) {
		if !regexp.MustCompile(`^\d\d:\d\d:\d\d  (webhook|watch  |retry  )  \S`).MatchString(line) {
			t.Errorf("not a line for people: %q", line)
		}
	}
}

// TestDevNamesAllTakenPorts: a second dev beside the first is told once what is in its way, and how to start all the same.
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
	p := launch(t, nil, args...)
	if code := p.exit(soon); code == 0 {
		t.Error("exit code 0")
	}
	for _, want := range append(flags, "is taken by another process", "--port-offset 100") {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("standard error %q, want %q", p.stderr.String(), want)
		}
	}
	p = launch(t, nil, append(args, "--port-offset", offset)...)
	if code, text := p.exit(soon), p.stderr.String(); code == 0 || !strings.Contains(text, "--grpc-addr") || !strings.Contains(text, "choose an offset") {
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
	p := launch(t, nil, args...)
	p.await("dev's guide", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C stops it.") })
	for _, addr := range want {
		if !strings.Contains(p.stdout.String(), addr) {
			t.Errorf("nothing listens on %s: %s", addr, p.stdout.String())
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

// TestDevAtInfoDoesNotMislead: what a developer reads about the embedded Redis is nothing to act on.
func TestDevAtInfoDoesNotMislead(t *testing.T) {
	p := launch(t, nil, "dev", "--log-level=info", "--grpc-addr=127.0.0.1:0", "--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--stripe-addr=127.0.0.1:0")
	p.await("the first event", func() bool { return strings.Contains(p.stderr.String(), "event kept") })
	for _, misleading := range []string{"does not tell", "noeviction", "6.2", "appendonly", "level=WARN"} {
		if strings.Contains(p.stderr.String(), misleading) {
			t.Errorf("the log has %q: %s", misleading, p.stderr.String())
		}
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
			p := launch(t, nil, args...)
			if code := p.exit(soon); code == 0 {
				t.Errorf("%s=%s: exit code 0", flag, addr)
			}
			text := strings.TrimSpace(p.stderr.String())
			if !strings.Contains(text, want) || strings.Contains(text, "\n") || p.stdout.String() != "" {
				t.Errorf("%s=%s: it says %q and %q", flag, addr, text, p.stdout.String())
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
		case <-time.After(soon):
			t.Fatal("dev does not end")
		}
	}
}
