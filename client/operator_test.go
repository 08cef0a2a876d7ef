package client_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// tooYoung is a session of a person that another try cannot help.
func tooYoung(id string) *verificationv1.Verification {
	v := session(id, requiresInput)
	v.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE}
	return v
}

func TestAllowRetryLetsAPersonTryOnceMore(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	seen := server.Set(tooYoung("vs_1"))
	var denied *client.RetryDeniedError
	if _, err := c.Retry(within(t), "vs_1"); !errors.As(err, &denied) || denied.Denial != verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE {
		t.Fatalf("before: %v", err)
	}
	for range 2 { // a repeated call changes nothing
		v, err := c.AllowRetry(within(t), "vs_1", client.SeenOutcome(seen.GetOutcomeRevision()))
		if err != nil || !v.GetRetry().GetOverrideOpen() || !v.GetRetry().GetAllowed() || v.GetRevision() != 2 {
			t.Fatalf("AllowRetry: %v, %v; want revision 2 with override_open", v, err)
		}
	}
	link, err := c.Retry(within(t), "vs_1")
	if err != nil {
		t.Fatal(err)
	}
	if r := link.Verification.GetRetry(); r.GetRetriesGranted() != 1 || r.GetRetriesRemaining() != 2 || r.GetOverrideOpen() {
		t.Errorf("after the retry: %v; want one granted and two left", r)
	}
}

func TestResolveAndTakeBack(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(tooYoung("vs_1"))
	v, err := c.Resolve(within(t), "vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED)
	if err != nil || v.GetResolution().GetKind() != verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED || !v.GetSettled() {
		t.Fatalf("Resolve: %v, %v", v, err)
	}
	var denied *client.RetryDeniedError
	if _, err := c.AllowRetry(within(t), "vs_1"); !errors.As(err, &denied) || denied.Denial != verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED {
		t.Errorf("AllowRetry of a resolved session: %v", err)
	}
	v, err = c.Resolve(within(t), "vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED)
	if err != nil || v.GetResolution() != nil || v.GetSettled() {
		t.Errorf("taken back: %v, %v", v, err)
	}
}

// TestOutcomeChanged: only a conflict of outcomes is one, not a conflict of writers.
func TestOutcomeChanged(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	seen := server.Set(tooYoung("vs_1"))
	server.Set(session("vs_1", processing))
	calls := map[string]func() error{
		"AllowRetry": func() error {
			_, err := c.AllowRetry(within(t), "vs_1", client.SeenOutcome(seen.GetOutcomeRevision()))
			return err
		},
		"Resolve": func() error {
			_, err := c.Resolve(within(t), "vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED, client.SeenOutcome(seen.GetOutcomeRevision()))
			return err
		},
	}
	for name, call := range calls {
		var e *client.Error
		if err := call(); !errors.Is(err, client.ErrOutcomeChanged) || !errors.As(err, &e) || e.Code != codes.Aborted {
			t.Errorf("%s: %v; want ErrOutcomeChanged", name, err)
		}
		server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_CONFLICT))
		if err := call(); errors.Is(err, client.ErrOutcomeChanged) || !errors.As(err, &e) || e.RetryAfter == 0 {
			t.Errorf("%s beside other writers: %v; want a conflict with a wait, and not ErrOutcomeChanged", name, err)
		}
	}
	if v, err := c.Status(within(t), client.Session("vs_1")); err != nil || v.GetRevision() != 2 {
		t.Errorf("after the conflicts: %v, %v; want revision 2", v, err)
	}
}

// TestPersonFindsTheVerifiedSession: the newest session answers, and an older one is verified.
func TestPersonFindsTheVerifiedSession(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(person("vs_1", "user-42", verified))
	server.Set(person("vs_2", "user-42", requiresInput))
	server.Set(person("vs_3", "user-7", verified))
	v, summary, err := c.Person(within(t), "user-42")
	if err != nil || v.GetSessionId() != "vs_2" || summary.GetVerified().GetSessionId() != "vs_1" || summary.GetSessions() != 2 {
		t.Errorf("Person: %v, %v, %v; want vs_2, and vs_1 verified of 2", v, summary, err)
	}
	if _, _, err := c.Person(within(t), "nobody"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Person of nobody: %v", err)
	}
	if _, _, err := c.Person(within(t), "user-42", client.MinRevision(9)); !errors.Is(err, client.ErrRevisionLost) {
		t.Errorf("Person at a revision that never was: %v", err)
	}
}

// TestHistoryNamesTheOperator: with the token of the call, the history names the person and not the program.
func TestHistoryNamesTheOperator(t *testing.T) {
	server := newServer(t)
	server.NameCallers(func(ctx context.Context) string {
		md, _ := metadata.FromIncomingContext(ctx)
		return md.Get("authorization")[0]
	})
	c := server.Client(client.WithBearerToken(func(context.Context) (string, error) { return "desk", nil }))
	server.Set(tooYoung("vs_1"))
	if _, err := c.AllowRetry(within(t), "vs_1"); err != nil {
		t.Fatal(err)
	}
	ctx := client.ContextWithToken(within(t), "ada")
	if _, err := c.Resolve(ctx, "vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED); err != nil {
		t.Fatal(err)
	}
	_, history, err := c.History(within(t), client.Session("vs_1"))
	if err != nil || len(history) != 3 {
		t.Fatalf("%v, %v; want 3 entries", history, err)
	}
	for i, want := range []struct {
		principal string
		operation verificationv1.Operation
	}{{"Bearer desk", verificationv1.Operation_OPERATION_ALLOW_RETRY}, {"Bearer ada", verificationv1.Operation_OPERATION_RESOLVE}} {
		entry := history[i+1]
		if entry.GetPrincipal() != want.principal || entry.GetOperation() != want.operation || entry.GetSource() != verificationv1.Source_SOURCE_OPERATOR {
			t.Errorf("entry %d: %v; want %v", i+1, entry, want)
		}
	}
}
