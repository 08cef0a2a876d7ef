package rpc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func blamed(err error) string {
	var wrong *invalidError
	if errors.As(err, &wrong) {
		return wrong.field
	}
	return ""
}

func TestWhichSessionIDsAreTaken(t *testing.T) {
	for id, good := range map[string]bool{
		"vs_1": true, "vs_aB9_": true, "vs_" + strings.Repeat("x", 252): true,
		"": false, "vs_": false, "vs": false, "vs_" + strings.Repeat("x", 253): false, "VS_1": false, "xvs_1": false, "pi_1": false,
		"vs_a-b": false, "vs_a b": false, "vs_a\n": false, "vs_ä": false, "vs_a/../b": false, " vs_1": false, "vs_{p1}": false,
	} {
		if got := checkSessionID(id); (got == nil) != good || !good && blamed(got) != "session_id" {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestWhichReferencesAreTaken(t *testing.T) {
	for reference, good := range map[string]bool{
		"person": true, "a": true, strings.Repeat("x", 255): true, strings.Repeat("ä", 127): true, "with space\nand line": true,
		"": false, strings.Repeat("x", 256): false, strings.Repeat("ä", 128): false, "\xff": false,
	} {
		if got := checkReference(reference); (got == nil) != good || !good && blamed(got) != "client_reference_id" {
			t.Errorf("%q: %v", reference, got)
		}
	}
}

func TestWhichReturnURLsAreTaken(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "https://example.com": true, "http://localhost:8080/back?a=b#c": true, "https://example.com/" + strings.Repeat("x", 2028): true,
		"example.com": false, "/back": false, "ftp://example.com": false, "javascript:alert(1)": false, "https://": false, "https:///x": false,
		"https://exa mple.com": false, "https://example.com/" + strings.Repeat("x", 2029): false, "data:text/html,x": false, "http://[::1": false,
	} {
		if got := checkReturnURL(text); (got == nil) != good || !good && blamed(got) != "return_url" {
			t.Errorf("%.60q: %v", text, got)
		}
	}
}

func TestHeartbeatsAreClampedAndNonsenseIsRefused(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		1: minHeartbeat, time.Second: minHeartbeat, 5 * time.Second: 5 * time.Second, time.Minute: time.Minute,
		5 * time.Minute: 5 * time.Minute, time.Hour: maxHeartbeat, 1 << 62: maxHeartbeat,
	} {
		got, err := heartbeatOf(&verificationv1.WatchStatusRequest{Heartbeat: durationpb.New(asked)})
		if err != nil || got != want {
			t.Errorf("%v: %v, %v; want %v", asked, got, err, want)
		}
	}
	if got, err := heartbeatOf(&verificationv1.WatchStatusRequest{}); got != 0 || err != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	for _, asked := range []*durationpb.Duration{
		{}, durationpb.New(-1), durationpb.New(-time.Hour), {Seconds: 1, Nanos: -1}, {Seconds: 1 << 60}, {Nanos: 2e9},
	} {
		if _, err := heartbeatOf(&verificationv1.WatchStatusRequest{Heartbeat: asked}); blamed(err) != "heartbeat" {
			t.Errorf("%v: %v", asked, err)
		}
	}
}

func TestTokensHaveABound(t *testing.T) {
	if err := checkToken("resume_token", strings.Repeat("x", 2048)); err != nil {
		t.Error(err)
	}
	if err := checkToken("resume_token", strings.Repeat("x", 2049)); blamed(err) != "resume_token" {
		t.Error(err)
	}
}

func TestAWrongRequestSaysWhatIsRight(t *testing.T) {
	err := newErrorService(&bytes.Buffer{}).fail(t.Context(), checkReference(strings.Repeat("x", 300)))
	d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	if !strings.Contains(d.message, "300") || !strings.Contains(d.message, "255") || strings.Contains(d.message, "xxx") {
		t.Errorf("message %q", d.message)
	}
}

// A caller that wants outcomes only must not get every change from a server that does not know the filter yet.
func TestWhatIsNotBuiltIsRefused(t *testing.T) {
	for name, all := range map[string]*verificationv1.AllSessions{
		"outcomes_only": {OutcomesOnly: true}, "statuses": {Statuses: []verificationv1.Status{verificationv1.Status_STATUS_VERIFIED}},
		"consumer": {Consumer: "mailer"}, "must_exist": {MustExist: true},
	} {
		if err := checkAllSessions(all); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want UNIMPLEMENTED", name, err)
		}
	}
	if err := checkAllSessions(&verificationv1.AllSessions{}); err != nil {
		t.Errorf("no filter: %v", err)
	}
	s := New(Config{Live: uncached{}, Clock: time.Now})
	_, err := s.GetStatus(t.Context(), &verificationv1.GetStatusRequest{IncludePerson: true,
		Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person"}})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("include_person: %v, want UNIMPLEMENTED", err)
	}
}
