package docs

import (
	"encoding/json"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// TestDevWalk follows dev's guide to the letter: refused, retried, verified.
func TestDevWalk(t *testing.T) {
	p, guide := rig.LaunchDev(t)
	if !strings.Contains(guide, "Nothing is kept") {
		t.Errorf("the guide does not say that nothing is kept:\n%s", guide)
	}
	g := newGuideRunner(t, guide)
	// A watch that is opened before the first webhook reads the session at Stripe, and the webhook then changes nothing.
	p.Await("the webhook of the session that dev has made", func() bool { return strings.Contains(p.Stdout.String(), "webhook  verification_session.created  ") })
	var watch verificationv1.WatchStatusRequest
	stream, err := g.grpcurl("WatchStatus", &watch).WatchStatus(rig.Within(t, rig.Soon), &watch)
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
	granted := rig.MustRetry(t, g.grpcurl("RetryVerification", &again), &again)
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
	if log := p.Stderr.String(); log != "" {
		t.Errorf("dev warns on a quiet day: %s", log)
	}
	if strings.Count(p.Stdout.String(), "_secret_") != 0 || strings.Contains(p.Stdout.String(), granted.GetUrl()) || strings.Contains(p.Stdout.String(), "whsec_") {
		t.Errorf("dev prints more than its own demo link and key:\n%s", p.Stdout.String())
	}
	p.Signal(syscall.SIGINT)
	if code := p.Exit(8 * time.Second); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
}

// checkLines wants a line in plain words, in this order, for each thing that the walk did.
func checkLines(t *testing.T, p *rig.Process, g *guideRunner) {
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
		p.Await("the line "+line, func() bool { return strings.Contains(p.Stdout.String(), "  "+line+"\n") })
	}
	_, lines, _ := strings.Cut(p.Stdout.String(), "What arrives is shown below.\n\n")
	for line := range strings.Lines(lines) {
		if !regexp.MustCompile(`^\d\d:\d\d:\d\d  (webhook|watch  |retry  )  \S`).MatchString(line) {
			t.Errorf("not a line for people: %q", line)
		}
	}
}
