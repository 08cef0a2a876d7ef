package sse

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestStreamsChanges(t *testing.T) {
	s := newSite(t)
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": "",
	} {
		if got := b.response.Header.Get(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
	b.want("status", `"status":"STATUS_REQUIRES_INPUT"`, `"revision":1`)
	if b.retry < retryBreak || b.retry >= 2*retryBreak {
		t.Errorf("retry: %v", b.retry)
	}
	b.wantLive()
	s.backend.CutStreams(nil)
	b.want("stale")
	s.set(processing)
	b.want("status", `"status":"STATUS_PROCESSING"`, `"revision":2`)
	b.wantLive()
}

func TestResumesWhereTheBrowserWas(t *testing.T) {
	s := newSite(t)
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status", `"revision":1`)
	b.close()
	s.set(processing)
	s.set(verified)
	b.connect()
	b.want("status", `"revision":2`)
	b.want("status", `"revision":3`, `"settled":true`)
	s.backend.ExpireTokens()
	s.backend.Heartbeat() // a younger token, without an event
	old := b.lastEventID
	s.set(processing)
	b.want("status", `"revision":4`)
	b.connect()
	s.set(verified)
	b.want("status", `"revision":5`)
	if old == b.lastEventID {
		t.Error("Last-Event-ID did not move")
	}
}

func TestAHeartbeatMovesLastEventID(t *testing.T) {
	s := newSite(t)
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status", `"revision":1`)
	b.wantLive()
	old := b.lastEventID
	s.backend.ExpireTokens()
	s.backend.Heartbeat()
	b.wantLive()
	if b.lastEventID == old {
		t.Error("Last-Event-ID did not move")
	}
	b.connect()
	s.set(processing)
	b.want("status", `"revision":2`) // and no reset: the new id is good
}

func TestATokenThatIsNoGoodResets(t *testing.T) {
	s := newSite(t)
	s.set(requiresInput)
	s.backend.Set(&verificationv1.Verification{SessionId: "vs_2", Status: requiresInput})
	var another string
	for update := range s.Client.Watch(t.Context(), client.Session("vs_2")) {
		another = update.ResumeToken
		break
	}
	b := s.browser(t)
	b.connect()
	b.want("status", `"revision":1`)
	revision := 1
	for _, test := range []struct{ name, id string }{
		{"expired", b.lastEventID}, {"another subject's", another}, {"nonsense", "nonsense"},
		{"too long", strings.Repeat("x", 2049)}, {"not URL-safe", "a b"},
	} {
		t.Log(test.name)
		if test.name == "expired" {
			s.backend.ExpireTokens()
		}
		b.lastEventID = test.id
		b.connect()
		b.want("reset")
		b.want("status", fmt.Sprintf(`"revision":%d`, revision))
		revision++
		s.set([]verificationv1.Status{requiresInput, processing}[(revision+1)%2])
		b.want("status", fmt.Sprintf(`"revision":%d`, revision)) // the reset came once
	}
}

func TestAnUnknownSessionIsAskedForAgain(t *testing.T) {
	s := newSite(t)
	b := s.browser(t)
	b.connect()
	b.want("unknown")
	b.wantLive()
	b.wantEnd()
	if b.response.StatusCode != http.StatusOK || b.retry < retryUnknown {
		t.Errorf("answered %d, retry %v", b.response.StatusCode, b.retry)
	}
	s.set(requiresInput)
	b.connect()
	b.want("status", `"revision":1`)
}

func TestAServiceThatRefusesIsAskedAgainLater(t *testing.T) {
	s := newSite(t)
	s.backend.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED))
	b := s.browser(t)
	b.connect()
	b.want("stale")
	b.wantEnd()
	if b.response.StatusCode != http.StatusOK || b.retry < retryLong || b.lives > 0 {
		t.Errorf("answered %d, retry %v", b.response.StatusCode, b.retry)
	}
	s.web.Close()
	if !strings.Contains(s.logged.String(), "PERMISSION_DENIED") {
		t.Errorf("logged %q", s.logged)
	}
}

// TestAnErrorThatIsNotTheServicesIsAnInterruption: a proxy's refusal says nothing about the person.
func TestAnErrorThatIsNotTheServicesIsAnInterruption(t *testing.T) {
	s := newSite(t)
	b := s.browser(t)
	for _, code := range []codes.Code{codes.PermissionDenied, codes.NotFound} {
		s.backend.Fail(status.Error(code, "a proxy's"))
		b.connect()
		b.want("stale")
		b.wantEnd()
		if b.retry < retryBreak || b.retry >= 2*retryBreak || b.lives > 0 {
			t.Errorf("%v: retry %v, live %d times; want from %v on, and not live", code, b.retry, b.lives, retryBreak)
		}
	}
	s.backend.Fail(nil)
	s.set(requiresInput)
	b.connect()
	b.want("status")
	b.close()
	s.web.Close()
	if logged := s.logged.String(); strings.Contains(logged, "level=ERROR") || strings.Count(logged, "level=WARN") != 1 {
		t.Errorf("logged %s\nwant one line at level WARN", logged)
	}
}

func TestAnswersOtherThanAStream(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		name, method string
		viewer       Viewer
		err          error
		want         int
		stream       bool
	}{
		{"POST", http.MethodPost, Viewer{}, nil, http.StatusMethodNotAllowed, false},
		{"not signed in", http.MethodGet, Viewer{}, ErrNotSignedIn, http.StatusUnauthorized, false},
		{"forbidden", http.MethodGet, Viewer{}, ErrForbidden, http.StatusForbidden, false},
		{"nobody", http.MethodGet, Viewer{Subject: client.Session("vs_1")}, nil, http.StatusInternalServerError, false},
		{"a fault", http.MethodGet, Viewer{}, errors.New("the database is unavailable"), http.StatusOK, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.Authorize = func(*http.Request) (Viewer, error) { return test.viewer, test.err }
			request, err := http.NewRequestWithContext(t.Context(), test.method, s.web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := s.web.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			stream := response.Header.Get("Content-Type") == "text/event-stream"
			if response.StatusCode != test.want || stream != test.stream || err != nil || strings.Contains(string(body), "database") {
				t.Errorf("answered %d, %q, %v", response.StatusCode, body, err)
			}
			if stream && !strings.HasPrefix(string(body), "retry: ") {
				t.Errorf("body %q", body)
			}
		})
	}
}

func TestTheBrowserSeesTheseFieldsAndNoOthers(t *testing.T) {
	full := &verificationv1.Verification{}
	const every = `{"sessionId":"vs_1","status":"STATUS_REQUIRES_INPUT","type":"VERIFICATION_TYPE_DOCUMENT",
		"lastError":{"code":"ERROR_CODE_OTHER","stripeCode":"s","reason":"r","category":"ERROR_CATEGORY_SELFIE"},
		"clientReferenceId":"c","livemode":true,"createTime":"2026-01-01T00:00:00Z","updateTime":"2026-01-02T00:00:00Z","revision":3,
		"retry":{"failedAttempts":1,"retriesGranted":1,"retriesRemaining":1,"allowed":true,"denial":"RETRY_DENIAL_COOLDOWN","nextRetryTime":"2026-01-03T00:00:00Z",
			"overrideOpen":true},
		"redaction":"REDACTION_PROCESSING","supersededBy":"vs_2","account":"acct_1","stripeStatus":"x","stripeType":"y",
		"lastVerificationReport":"vr_1","settled":true,"outcomeRevision":3,"outcomeId":"o","replaces":"vs_0",
		"resolution":{"kind":"RESOLUTION_KIND_CLOSED","principal":"p","time":"2026-01-04T00:00:00Z"}}`
	if err := protojson.Unmarshal([]byte(every), full); err != nil {
		t.Fatal(err)
	}
	for _, message := range []protoreflect.ProtoMessage{full, full.GetLastError(), full.GetRetry(), full.GetResolution()} {
		set := 0
		message.ProtoReflect().Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { set++; return true })
		if all := message.ProtoReflect().Descriptor().Fields().Len(); set != all {
			t.Fatalf("%d of %d fields of %T are set here: add the new ones, and decide about them in public", set, all, message)
		}
	}
	got, err := public(full)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"sessionId":"vs_1","status":"STATUS_REQUIRES_INPUT","type":"VERIFICATION_TYPE_DOCUMENT",` +
		`"lastError":{"code":"ERROR_CODE_OTHER","reason":"r","category":"ERROR_CATEGORY_SELFIE"},` +
		`"updateTime":"2026-01-02T00:00:00Z","revision":3,` +
		`"retry":{"retriesRemaining":1,"allowed":true,"denial":"RETRY_DENIAL_COOLDOWN","nextRetryTime":"2026-01-03T00:00:00Z","overrideOpen":true},` +
		`"settled":true,"resolution":{"kind":"RESOLUTION_KIND_CLOSED"}}`
	if got = strings.ReplaceAll(got, " ", ""); got != want {
		t.Errorf("shown %s\nwant  %s", got, want)
	}
	if strings.Contains(got, "\n") {
		t.Error("the data has a line break")
	}
}
