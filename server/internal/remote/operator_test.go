package remote

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// change returns a change with an output.
func change(subject Subject) (Change, *bytes.Buffer) {
	var out bytes.Buffer
	return Change{Subject: subject, Now: func() time.Time { return now }, Out: &out}, &out
}

func TestAllowRetrySaysWhatItDid(t *testing.T) {
	const did = "vs_1: one more try is allowed, recorded for token:anna.\nThe person's page offers it now. For a link to send, call RetryVerification.\n"
	for name, test := range map[string]struct {
		before, change func(*verificationv1.GetStatusResponse)
		want           string
	}{
		"allowed": {nil, allow, did},
		"allowed before": {allow, nil,
			"vs_1: one more try was allowed before, recorded for token:anna. Nothing was changed.\n"},
		"allowed before, and a webhook at the same time": {allow, func(a *verificationv1.GetStatusResponse) { a.Verification.Revision++ },
			"vs_1: one more try was allowed before, recorded for token:anna. Nothing was changed.\n"},
		"not needed": {func(a *verificationv1.GetStatusResponse) {
			a.Verification.Retry = &verificationv1.RetryState{Allowed: true}
		}, nil, "vs_1: the person can try again without it. Nothing was changed.\n"},
		"callers without names": {nil, func(a *verificationv1.GetStatusResponse) {
			allow(a)
			a.History[len(a.History)-1].Principal = ""
		}, strings.Replace(did, "for token:anna", "without a name", 1)},
		"a hostile name": {nil, func(a *verificationv1.GetStatusResponse) {
			allow(a)
			a.History[len(a.History)-1].Principal = "spiffe://a/\x1b[2J"
		}, strings.Replace(did, "token:anna", `"spiffe://a/\x1b[2J"`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			office := &fakeOffice{answer: tooYoung(), change: test.change}
			if test.before != nil {
				test.before(office.answer)
			}
			c, out := change(Subject{Session: "vs_1"})
			if err := AllowRetry(t.Context(), office.open(t), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveSaysWhatItDid(t *testing.T) {
	for name, test := range map[string]struct {
		kind           string
		before, change func(*verificationv1.GetStatusResponse)
		want           string
		sent           verificationv1.ResolutionKind
	}{
		"resolved": {"verified-elsewhere", nil, resolve,
			"vs_1: resolved as verified elsewhere, recorded for token:anna.\nIt is settled for this service, and retries are refused. To take it back: --take-back.\n",
			verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE},
		"resolved before": {"verified-elsewhere", resolve, nil,
			"vs_1: resolved as verified elsewhere before, recorded for token:anna. Nothing was changed.\n",
			verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE},
		"declined": {"declined", nil, resolve, "vs_1: resolved as declined, recorded for token:anna.\nIt is settled for this service, and retries are refused. To take it back: --take-back.\n",
			verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED},
		"closed": {"closed", nil, resolve, "vs_1: resolved as closed, recorded for token:anna.\nIt is settled for this service, and retries are refused. To take it back: --take-back.\n",
			verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED},
		"taken back":     {"", resolve, takeBack, "vs_1: no longer resolved, recorded without a name.\n", verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED},
		"never resolved": {"", nil, nil, "vs_1: not resolved. Nothing was changed.\n", verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED},
	} {
		t.Run(name, func(t *testing.T) {
			office := &fakeOffice{answer: tooYoung(), change: test.change}
			if test.before != nil {
				test.before(office.answer)
			}
			c, out := change(Subject{Session: "vs_1"})
			if err := Resolve(t.Context(), office.open(t), test.kind, c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if got := office.resolved[0].GetKind(); got != test.sent {
				t.Errorf("kind: got %v, want %v", got, test.sent)
			}
		})
	}
}

// TestAChangeNamesTheOutcomeThatWasSeen: the one of the flag, or the one that the command has read.
func TestAChangeNamesTheOutcomeThatWasSeen(t *testing.T) {
	for flag, want := range map[int32]int32{0: 3, 2: 2} {
		office := &fakeOffice{answer: tooYoung(), change: allow}
		server := office.open(t)
		c, _ := change(Subject{Session: "vs_1"})
		c.Outcome = flag
		if err := AllowRetry(t.Context(), server, c); err != nil {
			t.Fatal(err)
		}
		if err := Resolve(t.Context(), server, "closed", c); err != nil {
			t.Fatal(err)
		}
		if a, r := office.allowed[0].GetOutcomeRevision(), office.resolved[0].GetOutcomeRevision(); a != want || r != want {
			t.Errorf("with --outcome %d: got %d and %d, want %d", flag, a, r, want)
		}
	}
}

// TestAChangeByReferenceIsConfirmed: the newest session is shown, and changed only after a yes.
func TestAChangeByReferenceIsConfirmed(t *testing.T) {
	for _, yes := range []bool{true, false} {
		office := &fakeOffice{answer: tooYoung(), change: allow}
		c, out := change(Subject{Reference: "user-43"})
		c.Ask = func(question string) bool {
			if !strings.Contains(out.String(), "session    vs_1 (test mode)\nreference  user-43\n") || question != "Allow one more try for this session?" {
				t.Errorf("asked %q after this:\n%s", question, out.String())
			}
			return yes
		}
		err := AllowRetry(t.Context(), office.open(t), c)
		if (err == nil) != yes || len(office.allowed) == 1 != yes {
			t.Errorf("answer %v: error %v, %d calls", yes, err, len(office.allowed))
		}
		if asked := office.asked[0]; asked.GetClientReferenceId() != "user-43" || !asked.GetIncludePerson() {
			t.Errorf("asked for %v", asked)
		}
		if yes && office.allowed[0].GetSessionId() != "vs_1" {
			t.Errorf("changed %v", office.allowed[0])
		}
	}
}

// TestFailuresOfOperatorsAreInPlainWords: each that the server answers says that nothing was changed, and why.
func TestFailuresOfOperatorsAreInPlainWords(t *testing.T) {
	conflict := status.New(codes.Aborted, "planted")
	busy, err := conflict.WithDetails(&errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"denied":            {status.Error(codes.FailedPrecondition, "no retry: the person is verified already"), "no further try was allowed: no retry: the person is verified already"},
		"another outcome":   {conflict.Err(), "no further try was allowed: the outcome is not that of revision 3 any more: look at the session, and decide again: operator show vs_1"},
		"writers":           {busy.Err(), "no further try was allowed: planted"},
		"no right":          {status.Error(codes.PermissionDenied, "token:web may not call X"), "no further try was allowed: the server refuses the call: token:web may not call X"},
		"an old server":     {status.Error(codes.Unimplemented, "method AllowRetry not implemented"), "no further try was allowed: the server has no calls for operators: its version is too old"},
		"the format before": {status.Error(codes.Unimplemented, "RECORD_FORMAT is 2: planted"), "no further try was allowed: RECORD_FORMAT is 2: planted"},
	} {
		t.Run(name, func(t *testing.T) {
			office := &fakeOffice{answer: tooYoung(), err: test.err}
			c, out := change(Subject{Session: "vs_1"})
			if err := AllowRetry(t.Context(), office.open(t), c); err == nil || err.Error() != test.want {
				t.Errorf("error: got %v, want %s", err, test.want)
			}
			if out.String() != "" {
				t.Errorf("output: got %q, want none", out.String())
			}
		})
	}
}

// TestAnAnswerThatIsLostIsNoFailure: the server can have made the change, so no command says that it made none.
func TestAnAnswerThatIsLostIsNoFailure(t *testing.T) {
	const again = ": repeat the command, it changes nothing twice, or look at the session: operator show vs_1"
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown} {
		office := &fakeOffice{answer: tooYoung(), err: status.Error(code, "planted")}
		server := office.open(t)
		c, _ := change(Subject{Session: "vs_1"})
		for done, err := range map[string]error{
			"one more try is allowed": AllowRetry(t.Context(), server, c), "the resolution was changed": Resolve(t.Context(), server, "closed", c),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "it is not known whether "+done+": ") || !strings.HasSuffix(err.Error(), again) {
				t.Errorf("%s: got %v, want that it is not known whether %s", code, err, done)
			}
		}
	}
}

func TestSubjects(t *testing.T) {
	for subject, valid := range map[Subject]bool{
		{Session: "vs_1"}: true, {Reference: "vs_1"}: true, {Reference: "user-43"}: true,
		{}: false, {Session: "vs_1", Reference: "user-43"}: false, {Session: "user-43"}: false,
	} {
		if err := subject.Check(); (err == nil) != valid {
			t.Errorf("%+v: error %v, want valid %v", subject, err, valid)
		}
	}
}
