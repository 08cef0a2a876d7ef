package rpc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
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

func TestNamesOfConsumers(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "mailer": true, "mailer-2_b.c": true, strings.Repeat("z", 64): true,
		"": false, strings.Repeat("z", 65): false, "Mailer": false, "2mailer": false, ".a": false, "-a": false, "_a": false, "a b": false,
		"a\n": false, "a\x00": false, "ä": false, "aä": false, "a/b": false, "a:b": false, "{a}": false, "a*": false,
	} {
		if err := checkConsumer("consumer", name); (err == nil) != ok || err != nil && blamed(err) != "consumer" {
			t.Errorf("%q: %v, want accepted %v", name, err, ok)
		}
	}
}

func TestWatchesOfAllSessionsAreChecked(t *testing.T) {
	verified, unknown := verificationv1.Status_STATUS_VERIFIED, verificationv1.Status_STATUS_UNSPECIFIED
	for name, c := range map[string]struct {
		all    *verificationv1.AllSessions
		blamed string
	}{
		"all":                         {&verificationv1.AllSessions{}, ""},
		"outcomes only":               {&verificationv1.AllSessions{OutcomesOnly: true}, ""},
		"a status":                    {&verificationv1.AllSessions{Statuses: []verificationv1.Status{verified}}, ""},
		"no status":                   {&verificationv1.AllSessions{Statuses: []verificationv1.Status{verified, unknown}}, "all_sessions.statuses"},
		"a status of a later version": {&verificationv1.AllSessions{Statuses: []verificationv1.Status{verified, 99}}, "all_sessions.statuses"},
		"a negative status":           {&verificationv1.AllSessions{Statuses: []verificationv1.Status{-1}}, "all_sessions.statuses"},
		"a consumer":                  {&verificationv1.AllSessions{Consumer: "mailer", MustExist: true, OutcomesOnly: true}, ""},
		"a bad name":                  {&verificationv1.AllSessions{Consumer: "Mailer"}, "all_sessions.consumer"},
		"nobody must exist":           {&verificationv1.AllSessions{MustExist: true}, "all_sessions.must_exist"},
	} {
		if err := checkAllSessions(c.all); (err == nil) != (c.blamed == "") || err != nil && blamed(err) != c.blamed {
			t.Errorf("%s: %v, want %q blamed", name, err, c.blamed)
		}
	}
}

// TestAFilterHasEachStatusOnce: a request has room for 60,000, and each entry of the feed is compared with all of the filter.
func TestAFilterHasEachStatusOnce(t *testing.T) {
	all := &verificationv1.AllSessions{}
	for range 20_000 {
		all.Statuses = append(all.Statuses, verificationv1.Status_STATUS_VERIFIED, verificationv1.Status_STATUS_REQUIRES_INPUT, verificationv1.Status_STATUS_VERIFIED)
	}
	want := verification.Filter{Statuses: []string{verification.StatusVerified, verification.StatusRequiresInput}}
	if got := filterOf(all); checkAllSessions(all) != nil || !cmp.Equal(got, want) {
		t.Errorf("got %d statuses, want %v", len(got.Statuses), want.Statuses)
	}
}

func TestOnlyASelectiveWatchBeatsByItself(t *testing.T) {
	w := &watcher{lookup{&Config{}, uncached{&fakeStore{}, nil, 0}}, nil}
	for name, c := range map[string]struct {
		all   *verificationv1.AllSessions
		asked *durationpb.Duration
		want  time.Duration
	}{
		"all":             {&verificationv1.AllSessions{}, nil, 0},
		"outcomes only":   {&verificationv1.AllSessions{OutcomesOnly: true}, nil, time.Minute},
		"statuses":        {&verificationv1.AllSessions{Statuses: []verificationv1.Status{verificationv1.Status_STATUS_VERIFIED}}, nil, time.Minute},
		"a consumer":      {&verificationv1.AllSessions{Consumer: "mailer"}, nil, time.Minute},
		"as it asked for": {&verificationv1.AllSessions{Consumer: "mailer"}, durationpb.New(2 * time.Minute), 2 * time.Minute},
	} {
		got, _, err := w.parse(&verificationv1.WatchStatusRequest{
			Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: c.all}, Heartbeat: c.asked,
		})
		if err != nil || got != c.want {
			t.Errorf("%s: a heartbeat of %v, %v; want %v", name, got, err, c.want)
		}
	}
}
