package recovery

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// tokens returns a resume token of each kind of watch, as it is now.
func (d *drill) tokens() map[string]string {
	d.t.Helper()
	tokens := map[string]string{}
	for what, request := range map[string]*verificationv1.WatchStatusRequest{
		"all sessions": rig.WatchAllRequest(""), "one session": rig.WatchSessionRequest(d.failed.id, ""),
	} {
		response, err := d.first(request)
		if err != nil {
			d.t.Fatal(err)
		}
		tokens[what] = response.GetResumeToken()
	}
	return tokens
}

// first returns the first response of a watch.
func (d *drill) first(request *verificationv1.WatchStatusRequest) (*verificationv1.WatchStatusResponse, error) {
	d.t.Helper()
	stream, err := d.clients[1].WatchStatus(rig.Within(d.t, rig.Soon), request)
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

// wantCounts checks what the page says of retries and operators.
func (d *drill) wantCounts() {
	d.t.Helper()
	for name, want := range map[string]struct {
		p               *person
		failed, granted int32
		open            bool
	}{
		"of which the backup has one grant, and Stripe both failures": {d.failed, 2, 1, false},
		"whose override is in the backup":                             {d.young, 1, 0, true},
		"whose override is younger than the backup":                   {d.barred, 1, 0, false},
	} {
		got := rig.GetStatus(d.t, d.clients[0], want.p.id).GetVerification().GetRetry()
		if got.GetFailedAttempts() != want.failed || got.GetRetriesGranted() != want.granted || got.GetOverrideOpen() != want.open {
			d.t.Errorf("the session %s has %v, want %+v", name, got, want)
		}
	}
}

// wantTokens checks that tokens from before the backup are taken, and that those from after it are refused with the reason.
func (d *drill) wantTokens() {
	d.t.Helper()
	for what, token := range d.before {
		request := rig.WatchAllRequest(token)
		if what == "one session" {
			request = rig.WatchSessionRequest(d.failed.id, token)
		}
		if response, err := d.first(request); err != nil || response.GetResumeToken() == "" {
			d.t.Errorf("a token of %s from before the backup: %v, %v", what, response, err)
		}
	}
	for what, want := range map[string]string{
		"all sessions": "the store has lost what the resume token points to; start again without a token",
		"one session":  "the changes after the resume token are no longer kept; start again without a token",
	} {
		request := rig.WatchAllRequest(d.after[what])
		if what == "one session" {
			request = rig.WatchSessionRequest(d.failed.id, d.after[what])
		}
		response, err := d.first(request)
		if err == nil {
			d.t.Errorf("a token of %s from after the backup is taken: %v", what, response)
			continue
		}
		rig.WantError(d.t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
		if text := status.Convert(err).Message(); text != want {
			d.t.Errorf("a token of %s from after the backup: %q, want %q", what, text, want)
		}
	}
}

// wantFeed reads the change feed from before the backup to a new session, and finds nothing redacted.
func (d *drill) wantFeed() {
	d.t.Helper()
	last := d.come("last")
	stream, err := d.clients[1].WatchStatus(rig.Within(d.t, rig.Soon), rig.WatchAllRequest(d.before["all sessions"]))
	if err != nil {
		d.t.Fatal(err)
	}
	for changes := 1; ; changes++ {
		response, err := stream.Recv()
		if err != nil {
			d.t.Fatalf("the feed ended after %d changes: %v", changes, err)
		}
		if where := holds("the feed", response.String(), d.erasedLater); where != "" {
			d.t.Error(where)
		}
		if response.GetVerification().GetSessionId() == last.id {
			return
		}
	}
}

// wantFilesErased runs the last step, and searches Redis' files for redacted people.
func (d *drill) wantFilesErased() {
	d.t.Helper()
	found := func() (in []string) {
		for path, text := range d.files() {
			if where := holds(path, text, d.erasedLater); where != "" {
				in = append(in, where)
			}
		}
		return in
	}
	if len(found()) == 0 {
		d.t.Error("no file has anything of redacted people before the last step: this test proves nothing")
	}
	d.run("erase")
	if in := found(); len(in) > 0 {
		d.t.Errorf("files have something of redacted people: %s", strings.Join(in, "\n"))
	}
	if d.ask("DBSIZE") == "0" {
		d.t.Error("Redis is empty")
	}
}
