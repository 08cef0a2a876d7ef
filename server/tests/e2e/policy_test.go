package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestRetriesWaitForTheCooldown: GetStatus says from when on, RetryVerification says how long still,
// and from then on it grants.
func TestRetriesWaitForTheCooldown(t *testing.T) {
	t.Parallel() // it mostly waits
	const cooldown = 30 * time.Minute
	p := newTwoReplicas(t, "RETRY_COOLDOWN=30m")
	id := p.stripe.NewSession("person-1")
	p.stripe.SubmitAndFinish(id, "document_expired")
	request := &verificationv1.RetryVerificationRequest{SessionId: id}
	failed := p.stripe.Clock().Unix() // the simulated Stripe's second of the failure

	shown := rig.GetStatus(t, p.clients[0], id).GetVerification()
	next := shown.GetRetry().GetNextRetryTime().GetSeconds()
	if retry := shown.GetRetry(); retry.GetAllowed() || retry.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN || retry.GetRetriesRemaining() != 2 {
		t.Errorf("GetStatus says %v", retry)
	}
	if want := failed + int64(cooldown.Seconds()); next != want || shown.GetUpdateTime().GetSeconds() != failed {
		t.Errorf("next_retry_time is %d, want %d", next, want)
	}
	_, err := rig.Retry(t, p.clients[1], request)
	now := time.Now()
	info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
	delay := rig.Detail[*errdetails.RetryInfo](status.Convert(err)).GetRetryDelay().AsDuration()
	// The answer was made before now, and after the failure.
	if least := time.Unix(next, 0).Sub(now); info.GetMetadata()["denial"] != "RETRY_DENIAL_COOLDOWN" || delay < least || delay > cooldown {
		t.Errorf("%v, RetryInfo %v; want %v or a little more", info, delay, least)
	}
	for i, server := range p.servers {
		if _, err := io.WriteString(server.Stdin, "30m\n"); err != nil { // the server's clock goes ahead
			t.Fatal(err)
		}
		server.Await("the cooldown is over", func() bool {
			retry := rig.GetStatus(t, p.clients[i], id).GetVerification().GetRetry()
			return retry.GetAllowed() && retry.GetNextRetryTime() == nil
		})
	}
	if got := rig.MustRetry(t, p.clients[1], request); got.GetUrl() == "" || got.GetVerification().GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("after the cooldown: %v", got.GetVerification())
	}
}

// TestRetriesAreDeniedByTheCodesOfTheSettings: the codes of the setting are denied instead of the default ones. An unknown
// code in the setting is allowed, with a warning.
func TestRetriesAreDeniedByTheCodesOfTheSettings(t *testing.T) {
	for setting, denied := range map[string]string{
		"document_expired, code_of_tomorrow": "document_expired",
		"none":                               "",
	} {
		t.Run(setting, func(t *testing.T) {
			p := newTwoReplicas(t, "RETRY_DENY_CODES="+setting)
			for i, code := range []string{"document_expired", "consent_declined"} {
				id := p.stripe.NewSession(fmt.Sprintf("person-%d", i))
				p.stripe.SubmitAndFinish(id, code)
				shown := rig.GetStatus(t, p.clients[0], id).GetVerification().GetRetry()
				_, err := rig.Retry(t, p.clients[1], &verificationv1.RetryVerificationRequest{SessionId: id})
				if code != denied {
					if err != nil || !shown.GetAllowed() {
						t.Errorf("%s: %v, %v", code, shown, err)
					}
					continue
				}
				info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
				if shown.GetAllowed() || shown.GetDenial().String() != "RETRY_DENIAL_NOT_RETRYABLE" || info.GetMetadata()["denial"] != "RETRY_DENIAL_NOT_RETRYABLE" {
					t.Errorf("%s: %v, %v", code, shown, info)
				}
			}
			log := p.servers[0].Stderr.String()
			if warned := strings.Contains(log, "check its spelling") && strings.Contains(log, "code_of_tomorrow"); warned != strings.Contains(setting, "tomorrow") || strings.Contains(log, `"code":"document_expired"`) {
				t.Errorf("warned of a code that is not known: %v", warned)
			}
		})
	}
}

// TestEventsOfOtherAccountsAreIgnored: acknowledged, counted, and nothing is kept.
func TestEventsOfOtherAccountsAreIgnored(t *testing.T) {
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr, "STRIPE_ACCOUNTS=acct_1,acct_2"))
	client, grpc := rig.NewHTTPClient(t), rig.ClientOf(t, p)
	for account, kept := range map[string]bool{"": true, "acct_1": true, "acct_2": true, "acct_3": false, "acct_12": false} {
		id := "vs_of" + account
		e := rig.NewEvent("evt_"+id, "processing", id, time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
		if account != "" {
			e.Body = []byte(strings.Replace(string(e.Body), `"object":"event"`, `"object":"event","account":"`+account+`"`, 1))
		}
		response, text, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
		if err != nil || response.StatusCode != http.StatusOK || text != `{"received":true}` {
			t.Errorf("%q: %v %q, %v", account, response, text, err)
		}
		got, err := grpc.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
		if kept && (err != nil || got.GetVerification().GetAccount() != account) {
			t.Errorf("%q: %v, %v", account, got, err)
		}
		if !kept {
			rig.WantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		}
	}
	if got := metric(t, p, `verification_webhooks_total{reason="other_account",status="200",type="identity.verification_session.processing"}`); got != "2" {
		t.Errorf("%q events of other accounts were counted", got)
	}
}
