package e2e

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

func declineRequest(id string) *verificationv1.ResolveVerificationRequest {
	return &verificationv1.ResolveVerificationRequest{SessionId: id, Kind: verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED}
}

// TestAnOperatorHelpsAPersonWhoCannotContinue, through the whole server: a person under age is allowed one more try and verified;
// another one is resolved. Only callers with the right override can do so, and the record, the log and the metrics say who did.
func TestAnOperatorHelpsAPersonWhoCannotContinue(t *testing.T) {
	deskToken, deskLine := newToken(t, "desk", "read,list,retry,override")
	webToken, webLine := newToken(t, "web", "read,retry")
	stripe := rig.StartFakeStripe(t)
	g := serveSecured(t, stripe, deskLine+webLine)
	young, tired := stripe.NewSession("person-1"), stripe.NewSession("person-2")
	stripe.SubmitAndFinish(young, "under_supported_age")
	stripe.SubmitAndFinish(tired, "under_supported_age")

	conn := g.dial("")
	service, operators := verificationv1.NewVerificationServiceClient(conn), verificationv1.NewOperatorServiceClient(conn)
	ctx := rig.Within(t, rig.Soon)
	desk := metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+deskToken))
	web := metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+webToken))
	waiting := func() (ids []string) {
		t.Helper()
		page, err := service.ListVerifications(desk, &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Denial{
			Denial: verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE,
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.GetVerifications() {
			ids = append(ids, v.GetSessionId())
		}
		return ids
	}
	if ids := waiting(); len(ids) != 2 {
		t.Fatalf("%v wait for help, want both", ids)
	}

	_, err := service.RetryVerification(web, &verificationv1.RetryVerificationRequest{SessionId: young})
	if info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED); info.GetMetadata()["denial"] != "RETRY_DENIAL_NOT_RETRYABLE" {
		t.Errorf("denied: %v", info)
	}
	_, err = operators.AllowRetry(web, &verificationv1.AllowRetryRequest{SessionId: young})
	rig.WantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)
	_, err = operators.ResolveVerification(web, declineRequest(tired))
	rig.WantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)

	allowed, err := operators.AllowRetry(desk, &verificationv1.AllowRetryRequest{SessionId: young})
	if err != nil || !allowed.GetVerification().GetRetry().GetOverrideOpen() {
		t.Fatalf("%v, %v", allowed, err)
	}
	resolved, err := operators.ResolveVerification(desk, declineRequest(tired))
	if err != nil || !resolved.GetVerification().GetSettled() || resolved.GetVerification().GetResolution().GetPrincipal() != "token:desk" {
		t.Fatalf("%v, %v", resolved, err)
	}
	if ids := waiting(); len(ids) != 0 {
		t.Errorf("%v still wait for help", ids)
	}
	granted, err := service.RetryVerification(web, &verificationv1.RetryVerificationRequest{SessionId: young})
	if err != nil {
		t.Fatal(err)
	}
	stripe.UseLink(granted.GetUrl(), young, "verified")
	stripe.AwaitDelivered()
	_, err = operators.AllowRetry(desk, &verificationv1.AllowRetryRequest{SessionId: young, OutcomeRevision: allowed.GetVerification().GetOutcomeRevision()})
	rig.WantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
	person, err := service.GetStatus(web, &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person-1"}, IncludePerson: true,
	})
	if err != nil || person.GetPerson().GetVerified().GetSessionId() != young || person.GetPerson().GetFailedAttempts() != 1 {
		t.Errorf("%v, %v", person, err)
	}
	seen, err := service.GetStatus(web, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: tired}})
	if r := seen.GetVerification().GetResolution(); err != nil || r.GetPrincipal() != "" || r.GetKind() != verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED {
		t.Errorf("a caller that only reads sees %v, %v", r, err)
	}

	for id, text := range map[string]string{young: "an operator allowed one more try", tired: "an operator resolved a session"} {
		if log := g.Stderr.String(); strings.Count(log, `"msg":"`+text+`","session_id":"`+id+`"`) != 1 || !strings.Contains(log, `"principal":"token:desk"`) {
			t.Errorf("the log does not say that %s", text)
		}
	}
	counted := scrape(t, rig.NewHTTPClient(t), g.Process)
	for labels, want := range map[string]float64{
		`operation="allow_retry",outcome="changed"`: 1, `operation="allow_retry",outcome="conflict"`: 1, `operation="resolve",outcome="changed"`: 1,
	} {
		if got := counted[`verification_operator_calls_total{`+labels+`}`]; got != want {
			t.Errorf("%s: %v, want %v", labels, got, want)
		}
	}
}

// TestAnOlderReplicaKeepsAResolution, also when it writes the record. With -consumers.older it is the version before; by default
// this version during a rolling update, whose operators' calls are off.
func TestAnOlderReplicaKeepsAResolution(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	p := rig.Serve(t, stripe.Settings(redis.Addr))
	var older *rig.Process
	if *olderProgram != "" {
		older = rig.AwaitServing(rig.LaunchProgram(t, *olderProgram, stripe.Settings(redis.Addr), "serve"))
	} else {
		older = rig.Serve(t, stripe.Settings(redis.Addr, "RECORD_FORMAT=2"))
	}
	stripe.SendTo(p)
	id := stripe.NewSession("person-1")
	stripe.SubmitAndFinish(id, "under_supported_age")
	operatorsOf := func(p *rig.Process) verificationv1.OperatorServiceClient {
		conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return verificationv1.NewOperatorServiceClient(conn)
	}
	ctx := rig.Within(t, rig.Soon)
	if _, err := operatorsOf(p).ResolveVerification(ctx, declineRequest(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := operatorsOf(older).ResolveVerification(ctx, declineRequest(id)); status.Code(err) != codes.Unimplemented {
		t.Errorf("the older replica: %v, want UNIMPLEMENTED", err)
	}
	stripe.SendTo(older)
	stripe.SubmitAndFinish(id, "verified")
	for _, replica := range []*rig.Process{older, p} {
		rig.Await(t, "the verified session", func() bool {
			return rig.GetStatus(t, rig.ClientOf(t, replica), id).GetVerification().GetStatus() == verificationv1.Status_STATUS_VERIFIED
		})
	}
	got := rig.GetStatus(t, rig.ClientOf(t, p), id)
	if r := got.GetVerification().GetResolution(); r.GetKind() != verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED || r.GetTime() == nil {
		t.Errorf("after a write of the older replica the resolution is %v", r)
	}
	var operations int
	for _, entry := range got.GetHistory() {
		if entry.GetOperation() == verificationv1.Operation_OPERATION_RESOLVE {
			operations++
		}
	}
	if operations != 1 {
		t.Errorf("the history has %d operations: %v", operations, got.GetHistory())
	}
}
