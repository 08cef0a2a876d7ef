package access

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestADenyRuleForWatchesDeniesThatOfAllSessions: it is the same method. A rule that allows one of the two does not allow the other.
func TestADenyRuleForWatchesDeniesThatOfAllSessions(t *testing.T) {
	b := newBench(t, nil)
	ann, eve := b.as(b.clients.client(spiffe(t, "spiffe://example.org/ann"))), b.as(b.clients.client(spiffe(t, "spiffe://example.org/eve")))
	for _, c := range []struct {
		name        string
		allow, deny string // paths below the service; the rule to deny is about eve
		who         identity
		one, every  codes.Code
	}{
		{"denied, and all allowed", "*", "WatchStatus", eve, codes.PermissionDenied, codes.PermissionDenied},
		{"another is denied", "*", "WatchStatus", ann, codes.OK, codes.OK},
		{"the one of all is denied", "*", "WatchStatus/all_sessions", eve, codes.OK, codes.PermissionDenied},
		{"denied, and only the one of all is allowed", "WatchStatus/all_sessions", "WatchStatus", eve, codes.PermissionDenied, codes.PermissionDenied},
		{"only the one of all is allowed", "WatchStatus/all_sessions", "GetStatus", eve, codes.PermissionDenied, codes.OK},
		{"only the other is allowed", "WatchStatus", "GetStatus", eve, codes.OK, codes.PermissionDenied},
	} {
		b.write("policy.json", strings.NewReplacer("ALLOW", c.allow, "DENY", c.deny).Replace(`{
			"name": "test",
			"deny_rules": [{"name": "no", "source": {"principals": ["*/eve"]}, "request": {"paths": ["/verification.v1.VerificationService/DENY"]}}],
			"allow_rules": [{"name": "yes", "request": {"paths": ["/verification.v1.VerificationService/ALLOW"]}}]}`))
		b.reload()
		client := verificationv1.NewVerificationServiceClient(b.dial(c.who))
		for request, want := range map[*verificationv1.WatchStatusRequest]codes.Code{
			watchOne: c.one,
			{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}}: c.every,
		} {
			stream, err := client.WatchStatus(patient(t), request)
			if err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != want {
				t.Errorf("%s: %v: got %v, want %v", c.name, request, err, want)
			}
		}
	}
}

// TestADenyRuleHoldsForEachNameOfACertificate: otherwise a caller that can choose the order of its names escapes the rule.
func TestADenyRuleHoldsForEachNameOfACertificate(t *testing.T) {
	b := newBench(t, nil)
	b.write("policy.json", `{
		"name": "test",
		"deny_rules": [{"name": "no", "source": {"principals": ["eve.internal"]}, "request": {"paths": ["/verification.v1.VerificationService/GetStatus"]}}],
		"allow_rules": [{"name": "yes", "source": {"principals": ["web.internal", "eve.internal"]}}]}`)
	b.reload()
	for _, c := range []struct {
		names []string
		want  codes.Code
	}{
		{[]string{"web.internal"}, codes.OK},
		{[]string{"web.internal", "other.internal"}, codes.OK},
		{[]string{"other.internal", "web.internal"}, codes.PermissionDenied},
		{[]string{"eve.internal", "web.internal"}, codes.PermissionDenied},
		{[]string{"web.internal", "eve.internal"}, codes.PermissionDenied},
		{[]string{"web.internal", "other.internal", "eve.internal"}, codes.PermissionDenied},
	} {
		client := verificationv1.NewVerificationServiceClient(b.dial(b.as(b.clients.client(dns(c.names...)))))
		if _, err := client.GetStatus(patient(t), &verificationv1.GetStatusRequest{}); status.Code(err) != c.want {
			t.Errorf("%v: got %v, want %v", c.names, err, c.want)
		}
	}
}

// TestAPolicyIsOneText: text after it could be the rules that matter.
func TestAPolicyIsOneText(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                     "",
		"half":                      policyText[:len(policyText)/2],
		"another policy behind it":  policyText + policyText,
		"something else behind it":  policyText + "}",
		"no rules":                  `{"name": "test"}`,
		"nobody is allowed":         `{"name": "test", "allow_rules": []}`,
		"a name that nobody knows":  `{"name": "test", "allow_rule": []}`,
		"deny rules that are none":  `{"name": "test", "deny_rules": 1, "allow_rules": [{"name": "all"}]}`,
		"a deny rule without name":  `{"name": "test", "deny_rules": [{}], "allow_rules": [{"name": "all"}]}`,
		"a list in place of a text": `[` + policyText + `]`,
	} {
		if _, err := newPolicy(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := newPolicy(policyText + " \n"); err != nil {
		t.Error(err)
	}
}
