package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// letterAfter returns the only mail about a failure, if an operator acts before the mail is sent.
func letterAfter(t *testing.T, failure *verificationv1.Verification, act func(c *client.Client, id string) error, args ...string) string {
	t.Helper()
	r := newRig(t, args...)
	outcome := proto.CloneOf(r.server.Set(failure))
	if err := act(r.server.Client(), outcome.GetSessionId()); err != nil {
		t.Fatal(err)
	}
	if err := r.mailer().handle(t.Context(), client.Update{Verification: outcome}); err != nil {
		t.Fatal(err)
	}
	if got, want := r.mails(), []string{"vs_1@people.example: That didn’t work"}; !slices.Equal(got, want) {
		t.Errorf("mails:\ngot  %q\nwant %q", got, want)
	}
	return r.smtp.received()[0]
}

// TestResolved: the person reads that the team is at it, and the team, which knows, gets no mail.
func TestResolved(t *testing.T) {
	for _, code := range []string{"document_expired", "consent_declined"} {
		text := letterAfter(t, failed("vs_1", "vr_1", code), func(c *client.Client, id string) error {
			_, err := c.Resolve(t.Context(), id, verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED)
			return err
		})
		if want := languages["en"].Refusals["RESOLVED"]; want == "" || !strings.Contains(text, want) || strings.Contains(text, "<a href") {
			t.Errorf("%s: the mail is\n%s\nwant %q and no link", code, text, want)
		}
	}
}

// TestAllowed: an operator's try is offered like the person's own ones, and comes on top of them.
func TestAllowed(t *testing.T) {
	const page = "https://verify.example.com/again"
	for link, args := range map[string][]string{"https://verify.stripe.test/start/vs_1": nil, page: {"-page", page}} {
		text := letterAfter(t, failed("vs_1", "vr_1", "consent_declined"), func(c *client.Client, id string) error {
			v, err := c.AllowRetry(t.Context(), id)
			if err == nil && !v.GetRetry().GetOverrideOpen() {
				err = fmt.Errorf("no override is open: %v", v)
			}
			return err
		}, args...)
		if !strings.Contains(text, link) || !strings.Contains(text, "You have 3 tries left.") {
			t.Errorf("the mail is\n%s\nwant a link with %q, and 3 tries", text, link)
		}
	}
}
